import static java.util.concurrent.TimeUnit.SECONDS;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.UnknownFieldSet;
import com.google.rpc.RetryInfo;
import io.grpc.Deadline;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.AbstractBlockingStub;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Function;

/** Which failures are tried again, and what a refusal says. */
final class Retry {
  /** Tries of a call, or of a stream since it last brought something. */
  private static final int TRIES = 7;

  /** Seconds of a single call, its retries included. */
  private static final int DEADLINE = 30;

  private Retry() {}

  /** Makes a call within a deadline, again where that is safe. */
  static <S extends AbstractBlockingStub<S>, A> A call(S stub, Function<S, A> call)
      throws InterruptedException {
    Deadline deadline = Deadline.after(DEADLINE, SECONDS);
    for (int made = 1; ; made++) {
      try {
        return call.apply(stub.withDeadline(deadline));
      } catch (StatusRuntimeException failed) {
        long wait = pause(failed, made);
        if (wait < 0 || deadline.isExpired()) {
          throw failed;
        }
        Thread.sleep(wait);
      }
    }
  }

  /**
   * Milliseconds to wait before the next try; negative: none would help. Only UNAVAILABLE is tried
   * again, as docs/errors.md says: the hub is away, and reads and writes under a request id come out
   * the same for being asked twice.
   */
  static long pause(StatusRuntimeException failed, int made) {
    if (failed.getStatus().getCode() != Status.Code.UNAVAILABLE || made >= TRIES) {
      return -1;
    }
    var told = StatusProto.fromThrowable(failed);
    if (told != null) {
      for (Any detail : told.getDetailsList()) {
        if (detail.is(RetryInfo.class)) {
          return unpack(() -> detail.unpack(RetryInfo.class)).getRetryDelay().getSeconds() * 1000;
        }
      }
    }
    long longest = 100L << made;
    return longest / 2 + ThreadLocalRandom.current().nextLong(longest / 2);
  }

  /**
   * The stable cause of a refusal: a program acts on this word, never on the message. The library
   * of this release knows no google.rpc.ErrorInfo; its first field is the cause.
   */
  static String reason(com.google.rpc.Status refusal) {
    for (Any detail : refusal.getDetailsList()) {
      if (detail.getTypeUrl().endsWith("/google.rpc.ErrorInfo")) {
        return unpack(() -> UnknownFieldSet.parseFrom(detail.getValue()))
            .getField(1)
            .getLengthDelimitedList()
            .get(0)
            .toStringUtf8();
      }
    }
    return Status.fromCodeValue(refusal.getCode()).getCode().name();
  }

  /** The stable cause of a failed call; of a broken connection its code. */
  static String reason(StatusRuntimeException failed) {
    var told = StatusProto.fromThrowable(failed);
    return told == null ? failed.getStatus().getCode().name() : reason(told);
  }

  private interface Unpacking<M> {
    M unpack() throws InvalidProtocolBufferException;
  }

  private static <M> M unpack(Unpacking<M> detail) {
    try {
      return detail.unpack();
    } catch (InvalidProtocolBufferException damaged) {
      throw new IllegalStateException("the hub broke the protocol", damaged);
    }
  }
}
