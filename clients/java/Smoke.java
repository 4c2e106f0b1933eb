import static java.util.concurrent.TimeUnit.SECONDS;

import com.google.protobuf.ByteString;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.NettyChannelBuilder;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslProvider;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import luytre.v1.DirectoryServiceGrpc;
import luytre.v1.DirectoryServiceOuterClass.WhoAmIRequest;
import luytre.v1.ExchangeServiceGrpc;
import luytre.v1.ExchangeServiceOuterClass.PublishIndicatorsRequest;
import luytre.v1.ExchangeServiceOuterClass.PublishIndicatorsResponse;
import luytre.v1.ExchangeServiceOuterClass.PublishResult;
import luytre.v1.IndicatorOuterClass.IndicatorDraft;
import luytre.v1.MarkingOuterClass.Marking;
import luytre.v1.MarkingOuterClass.Tlp;
import luytre.v1.ObservableOuterClass.FileHashes;
import luytre.v1.ObservableOuterClass.Observable;
import luytre.v1.SubscriptionServiceOuterClass.Event;
import luytre.v1.SubscriptionServiceOuterClass.EventBatch;
import luytre.v1.SubscriptionServiceOuterClass.EventKind;
import luytre.v1.SubscriptionServiceOuterClass.Open;
import luytre.v1.SubscriptionServiceOuterClass.StartPosition;
import luytre.v1.SubscriptionServiceOuterClass.SubscribeResponse;

/**
 * A small client of Lũy Tre: enough to show every rule that a client in Java has to keep. It
 * publishes the lines of its input and prints what it is sent.
 */
public final class Smoke {
  private static final String USAGE =
      """
      smoke --hub HOST:PORT --ca FILE --cert FILE --key FILE COMMAND

        whoami                        what the hub makes of the certificate
        publish                       publishes each line of the input as TLP:GREEN
        subscribe TOKEN_FILE COUNT    prints COUNT events and keeps the place in the file""";

  /** Most events that may be on their way. */
  private static final int WINDOW = 100;

  private final ManagedChannel channel;

  private Smoke(ManagedChannel channel) {
    this.channel = channel;
  }

  public static void main(String[] arguments) throws Exception {
    String hub = "127.0.0.1:7443";
    File ca = null;
    File cert = null;
    File key = null;
    int at = 0;
    for (; at + 1 < arguments.length && arguments[at].startsWith("--"); at += 2) {
      String given = arguments[at + 1];
      switch (arguments[at]) {
        case "--hub" -> hub = given;
        case "--ca" -> ca = new File(given);
        case "--cert" -> cert = new File(given);
        case "--key" -> key = new File(given);
        default -> usage();
      }
    }
    List<String> command = List.of(arguments).subList(at, arguments.length);
    if (ca == null || cert == null || key == null || command.isEmpty()) {
      usage();
    }
    ManagedChannel channel = connect(hub, ca, new Identity(cert, key));
    try {
      Smoke smoke = new Smoke(channel);
      if (command.equals(List.of("whoami"))) {
        smoke.whoami();
      } else if (command.equals(List.of("publish"))) {
        smoke.publish(new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)));
      } else if (command.size() == 3 && command.get(0).equals("subscribe")) {
        smoke.subscribe(Path.of(command.get(1)), Integer.parseInt(command.get(2)));
      } else {
        usage();
      }
    } catch (StatusRuntimeException refused) {
      System.err.println(Retry.reason(refused) + ": " + refused.getStatus().getDescription());
      System.exit(1);
    } finally {
      channel.shutdownNow().awaitTermination(10, SECONDS);
    }
  }

  private static void usage() {
    System.err.println(USAGE);
    System.exit(2);
  }

  /** A channel over mutual TLS 1.3. */
  private static ManagedChannel connect(String hub, File ca, Identity identity) throws IOException {
    return NettyChannelBuilder.forTarget(hub)
        .sslContext(
            // Offers ALPN h2. Debian's Netty does so with OpenSSL alone; that of Maven Central
            // also does with the JDK, where GrpcSslContexts.forClient() is all that is needed.
            GrpcSslContexts.configure(SslContextBuilder.forClient(), SslProvider.OPENSSL)
                .trustManager(ca)
                .keyManager(identity)
                .protocols("TLSv1.3")
                .build())
        .keepAliveTime(20, SECONDS)
        .keepAliveTimeout(10, SECONDS)
        .maxInboundMessageSize(32 << 20)
        .intercept(new Renewal())
        .build();
  }

  private void whoami() throws InterruptedException {
    var directory = DirectoryServiceGrpc.newBlockingStub(channel);
    System.out.println(
        Retry.call(directory, stub -> stub.whoAmI(WhoAmIRequest.getDefaultInstance()))
            .getOrganisation());
  }

  /**
   * Sends batches. A batch keeps its request id however often it is sent, so that a lost answer
   * cannot publish it twice.
   */
  private void publish(BufferedReader input) throws IOException, InterruptedException {
    List<IndicatorDraft> drafts = new ArrayList<>();
    int published = 0;
    String line;
    do {
      line = input.readLine();
      if (line != null) {
        drafts.add(
            IndicatorDraft.newBuilder()
                // The hub finds the kind of a text.
                .setObservable(Observable.newBuilder().setText(line.strip()))
                // There is no default: nothing is shared by accident.
                .setMarking(Marking.newBuilder().setTlp(Tlp.TLP_GREEN))
                .build());
      }
      if (drafts.size() == 500 || line == null && !drafts.isEmpty()) {
        for (PublishResult result : send(drafts).getResultsList()) {
          String verdict =
              result.hasPublished()
                  ? result.getPublished().getEffect().name()
                  : Retry.reason(result.getRejected());
          System.out.println(published++ + " " + verdict);
        }
        drafts.clear();
      }
    } while (line != null);
  }

  private PublishIndicatorsResponse send(List<IndicatorDraft> drafts) throws InterruptedException {
    var request =
        PublishIndicatorsRequest.newBuilder()
            .setRequestId(UUID.randomUUID().toString())
            .addAllIndicators(drafts)
            .build();
    var exchange = ExchangeServiceGrpc.newBlockingStub(channel);
    var answer = Retry.call(exchange, stub -> stub.publishIndicators(request));
    if (answer.getResultsCount() != drafts.size()) {
      throw new IllegalStateException("another number of verdicts than of items");
    }
    return answer;
  }

  /**
   * Prints events and, once they are out, puts the token after them into the file. Whatever breaks,
   * the next stream goes on from there.
   */
  private void subscribe(Path place, int count) throws IOException, InterruptedException {
    for (int failed = 0; count > 0; ) {
      Progress progress = new Progress(count);
      try {
        follow(place, progress);
      } catch (StatusRuntimeException broken) {
        failed = progress.handed > 0 ? 1 : failed + 1;
        long wait = Retry.pause(broken, failed);
        if (wait < 0) {
          throw broken;
        }
        Thread.sleep(wait);
      }
      count -= progress.handed;
    }
  }

  /** How far one stream has come. */
  private static final class Progress {
    private final int wanted;
    private int granted;
    private int handed;

    private Progress(int wanted) {
      this.wanted = wanted;
      // No more credit than events are wanted: what is not asked for is not sent.
      granted = Math.min(wanted, WINDOW);
    }
  }

  /** Reads one stream until enough events came or it broke. */
  private void follow(Path place, Progress progress) throws IOException, InterruptedException {
    Open.Builder open = Open.newBuilder().setInitialCredit(progress.granted);
    if (Files.exists(place)) {
      open.setResumeToken(ByteString.copyFrom(Files.readAllBytes(place)));
    } else {
      open.setPosition(StartPosition.START_POSITION_EARLIEST);
    }
    try (Stream stream = new Stream(channel, open.build())) {
      while (progress.handed < progress.wanted) {
        SubscribeResponse response = stream.next();
        switch (response.getMessageCase()) {
          case OPENED -> stream.expect(response.getOpened().getHeartbeatSeconds());
          case BATCH -> {
            EventBatch batch = response.getBatch();
            show(batch.getEventsList(), batch.getKindsList(), batch.getKindsCount());
            keep(place, batch.getResumeToken());
            progress.handed += batch.getEventsCount();
            int more = Math.min(progress.wanted - progress.granted, batch.getEventsCount());
            if (more > 0) {
              progress.granted += more;
              stream.grant(more);
            }
          }
          // Before any event: stop using these. There is no token to keep.
          case RECALLS -> {
            var recalls = response.getRecalls();
            show(recalls.getEventsList(), recalls.getKindsList(), recalls.getKindsCount());
          }
          case HEARTBEAT -> keep(place, response.getHeartbeat().getResumeToken());
          case DRAINING -> keep(place, response.getDraining().getResumeToken());
          default -> {} // nothing to do, or of a later release
        }
      }
    }
  }

  /** Prints what happened, one event a line. */
  private static void show(List<Event> events, List<EventKind> kinds, int told) {
    if (told != 0 && told != events.size()) {
      throw new IllegalStateException("another number of kinds than of events");
    }
    for (int i = 0; i < events.size(); i++) {
      EventKind kind = told == 0 ? EventKind.EVENT_KIND_NEW : kinds.get(i);
      if (kind == EventKind.UNRECOGNIZED || kind == EventKind.EVENT_KIND_UNSPECIFIED) {
        throw new IllegalStateException("an event of a kind that is not known; update this client");
      }
      var indicator = events.get(i).getIndicator();
      System.out.println(kind + " " + indicator.getName() + " " + value(indicator.getObservable()));
    }
    System.out.flush();
  }

  /** The canonical text of an observable, whichever field holds it. */
  private static String value(Observable observable) {
    if (observable.hasFile()) {
      FileHashes file = observable.getFile();
      return String.join(" ", file.getSha256(), file.getSha512(), file.getSha1(), file.getMd5())
          .strip();
    }
    return observable.getAllFields().values().stream().findFirst().map(Object::toString).orElse("");
  }

  /** Replaces the file as a whole, so that it never holds half a token. */
  private static void keep(Path place, ByteString token) throws IOException {
    Path beside = place.resolveSibling(place.getFileName() + ".new");
    try (var file = new java.io.FileOutputStream(beside.toFile())) {
      token.writeTo(file);
      file.getFD().sync();
    }
    Files.move(beside, place, StandardCopyOption.ATOMIC_MOVE);
  }

  /** What a stream that fell silent ends with: as if the hub were away. */
  static StatusRuntimeException silent() {
    return Status.UNAVAILABLE.withDescription("the hub has fallen silent").asRuntimeException();
  }
}
