import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Tells, once, that the hub asks for a renewal: while it changes its authority, every call of the
 * holder of an older certificate ends with this in its trailers, whatever the certificate's age. A
 * program that runs for long has {@code luytre cert agent} renew, or renews by itself.
 */
final class Renewal implements ClientInterceptor {
  private static final Metadata.Key<String> RENEW_NOW =
      Metadata.Key.of("luytre-renew-now", Metadata.ASCII_STRING_MARSHALLER);

  private final AtomicBoolean told = new AtomicBoolean();

  @Override
  public <Q, A> ClientCall<Q, A> interceptCall(
      MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
    return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
      @Override
      public void start(Listener<A> listener, Metadata headers) {
        super.start(
            new SimpleForwardingClientCallListener<>(listener) {
              @Override
              public void onClose(Status status, Metadata trailers) {
                heed(trailers);
                super.onClose(status, trailers);
              }
            },
            headers);
      }
    };
  }

  private void heed(Metadata trailers) {
    if ("1".equals(trailers.get(RENEW_NOW)) && told.compareAndSet(false, true)) {
      System.err.println(
          "the hub asks to renew the certificate now; run: luytre cert renew");
    }
  }
}
