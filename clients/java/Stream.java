import static java.util.concurrent.TimeUnit.SECONDS;

import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import luytre.v1.SubscriptionServiceGrpc;
import luytre.v1.SubscriptionServiceOuterClass.Credit;
import luytre.v1.SubscriptionServiceOuterClass.Open;
import luytre.v1.SubscriptionServiceOuterClass.SubscribeRequest;
import luytre.v1.SubscriptionServiceOuterClass.SubscribeResponse;

/** One Subscribe stream, read by the thread that works its messages off. */
final class Stream implements StreamObserver<SubscribeResponse>, AutoCloseable {
  /** Heartbeats that may be missed before the stream counts as broken. */
  private static final int MISSED = 3;

  /** What came: a message, or why nothing more will. Credit bounds it. */
  private final BlockingQueue<Object> heard = new LinkedBlockingQueue<>();

  private final StreamObserver<SubscribeRequest> said;
  private int heartbeat = 30;

  Stream(ManagedChannel channel, Open open) {
    said = SubscriptionServiceGrpc.newStub(channel).subscribe(this);
    said.onNext(SubscribeRequest.newBuilder().setOpen(open).build());
  }

  /** The span between heartbeats, as the hub named it. */
  void expect(int seconds) {
    heartbeat = seconds;
  }

  /** Lets the hub send more events. */
  void grant(int events) {
    Credit credit = Credit.newBuilder().setEvents(events).build();
    said.onNext(SubscribeRequest.newBuilder().setCredit(credit).build());
  }

  /** The next message. */
  SubscribeResponse next() throws InterruptedException {
    Object next = heard.poll((long) MISSED * heartbeat, SECONDS);
    if (next instanceof SubscribeResponse response) {
      return response;
    }
    if (next instanceof Throwable broken) {
      throw Status.fromThrowable(broken).asRuntimeException(Status.trailersFromThrowable(broken));
    }
    throw Smoke.silent();
  }

  @Override
  public void onNext(SubscribeResponse response) {
    heard.add(response);
  }

  @Override
  public void onError(Throwable broken) {
    heard.add(broken);
  }

  @Override
  public void onCompleted() {
    heard.add(Status.UNAVAILABLE.withDescription("the hub ended the stream").asException());
  }

  @Override
  public void close() {
    try {
      said.onCompleted();
    } catch (IllegalStateException | StatusRuntimeException over) {
      // The stream broke before; there is nobody to say it to.
    }
  }
}
