// A small client of Lũy Tre: enough to show every rule that a client in Go has
// to keep. It publishes the lines of its input and prints what it is sent.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	v1 "luytre/v1"
)

// deadline of a single call, its retries included.
const deadline = 30 * time.Second

const usage = `luytre-smoke --hub HOST:PORT --ca FILE --cert FILE --key FILE COMMAND

  whoami                        what the hub makes of the certificate
  publish                       publishes each line of the input as TLP:GREEN
  subscribe TOKEN_FILE COUNT    prints COUNT events and keeps the place in the file`

func main() {
	log.SetFlags(0)
	hub := flag.String("hub", "127.0.0.1:7443", "address of the hub")
	ca := flag.String("ca", "", "authorities of the hub's certificate, PEM")
	cert := flag.String("cert", "", "own certificate, PEM")
	key := flag.String("key", "", "its key, PEM")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, usage) }
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	connection, err := connect(*hub, *ca, *cert, *key)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	var count int
	switch arguments := flag.Args(); {
	case len(arguments) == 1 && arguments[0] == "whoami":
		err = whoami(ctx, connection)
	case len(arguments) == 1 && arguments[0] == "publish":
		err = publish(ctx, connection, os.Stdin)
	case len(arguments) == 3 && arguments[0] == "subscribe" && scan(arguments[2], &count):
		err = subscribe(ctx, connection, arguments[1], count)
	default:
		flag.Usage()
		os.Exit(2)
	}
	if err != nil {
		log.Fatal(explain(err))
	}
}

func scan(text string, count *int) bool {
	_, err := fmt.Sscan(text, count)
	return err == nil && *count > 0
}

// connect opens a channel over mutual TLS 1.3. Both files of the identity are
// read for every new connection, so a renewed certificate needs no restart.
func connect(hub, ca, cert, key string) (*grpc.ClientConn, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", ca)
	}
	settings := &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    authorities,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key)
			return &pair, err
		},
	}
	return grpc.Dial(hub,
		grpc.WithTransportCredentials(credentials.NewTLS(settings)), // offers ALPN h2
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32<<20)),
		grpc.WithUnaryInterceptor(heedAnswers),
	)
}

func whoami(ctx context.Context, connection *grpc.ClientConn) error {
	var me *v1.WhoAmIResponse
	err := retry(ctx, func(ctx context.Context) (err error) {
		me, err = v1.NewDirectoryServiceClient(connection).WhoAmI(ctx, &v1.WhoAmIRequest{})
		return err
	})
	if err == nil {
		fmt.Println(me.Organisation)
	}
	return err
}

// publish sends batches. A batch keeps its request id however often it is
// sent, so that a lost answer cannot publish it twice.
func publish(ctx context.Context, connection *grpc.ClientConn, input io.Reader) error {
	client := v1.NewExchangeServiceClient(connection)
	var drafts []*v1.IndicatorDraft
	published := 0
	send := func() error {
		request := &v1.PublishIndicatorsRequest{RequestId: requestID(), Indicators: drafts}
		var answer *v1.PublishIndicatorsResponse
		err := retry(ctx, func(ctx context.Context) (err error) {
			answer, err = client.PublishIndicators(ctx, request)
			return err
		})
		if err != nil {
			return err
		}
		if len(answer.Results) != len(drafts) {
			return fmt.Errorf("%d verdicts on %d items", len(answer.Results), len(drafts))
		}
		for _, result := range answer.Results {
			switch outcome := result.Outcome.(type) {
			case *v1.PublishResult_Published:
				fmt.Println(published, outcome.Published.Effect)
			case *v1.PublishResult_Rejected:
				fmt.Println(published, reason(outcome.Rejected))
			}
			published++
		}
		drafts = nil
		return nil
	}
	for lines := bufio.NewScanner(input); ; {
		more := lines.Scan()
		if more {
			drafts = append(drafts, &v1.IndicatorDraft{
				// The hub finds the kind of a text.
				Observable: &v1.Observable{Value: &v1.Observable_Text{Text: strings.TrimSpace(lines.Text())}},
				// There is no default: nothing is shared by accident.
				Marking: &v1.Marking{Tlp: v1.Tlp_TLP_GREEN},
			})
		}
		if len(drafts) == 500 || !more && len(drafts) > 0 {
			if err := send(); err != nil {
				return err
			}
		}
		if !more {
			return lines.Err()
		}
	}
}

// subscribe prints events and, once they are out, puts the token after them
// into the file. Whatever breaks, the next stream goes on from there.
func subscribe(ctx context.Context, connection *grpc.ClientConn, place string, count int) error {
	token, err := os.ReadFile(place)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for failed := 0; count > 0; {
		handed, err := follow(ctx, connection, &token, place, count)
		count -= handed
		if handed > 0 {
			failed = 0
		}
		if err == nil {
			continue
		}
		failed++
		if wait := pause(err, failed); wait < 0 || !sleep(ctx, wait) {
			return err
		}
	}
	return nil
}

// follow reads one stream until `count` events came or it broke.
func follow(run context.Context, connection *grpc.ClientConn, token *[]byte, place string, count int) (int, error) {
	ctx, end := context.WithCancel(run)
	defer end()
	stream, err := v1.NewSubscriptionServiceClient(connection).Subscribe(ctx)
	if err != nil {
		return 0, err
	}
	// No more credit than events are wanted: what is not asked for is not sent.
	const window = 100
	granted := least(count, window)
	open := &v1.Open{InitialCredit: uint32(granted)}
	if len(*token) > 0 {
		open.Start = &v1.Open_ResumeToken{ResumeToken: *token}
	} else {
		open.Start = &v1.Open_Position{Position: v1.StartPosition_START_POSITION_EARLIEST}
	}
	if err := say(stream, &v1.SubscribeRequest{Message: &v1.SubscribeRequest_Open{Open: open}}); err != nil {
		return 0, err
	}
	// Silence for three heartbeats is a broken connection.
	silence := time.AfterFunc(90*time.Second, end)
	defer silence.Stop()
	beat := 30 * time.Second
	for handed := 0; handed < count; {
		response, err := stream.Recv()
		if err != nil {
			heed(stream.Trailer())
		}
		if err != nil && ctx.Err() != nil && run.Err() == nil {
			return handed, status.Error(codes.Unavailable, "the hub has fallen silent")
		}
		if err != nil {
			return handed, err
		}
		silence.Reset(3 * beat)
		switch message := response.Message.(type) {
		case *v1.SubscribeResponse_Opened:
			beat = time.Duration(message.Opened.HeartbeatSeconds) * time.Second
		case *v1.SubscribeResponse_Batch:
			batch := message.Batch
			if err := show(batch.Events, batch.Kinds); err != nil {
				return handed, err
			}
			if err := keep(place, batch.ResumeToken); err != nil {
				return handed, err
			}
			*token = batch.ResumeToken
			handed += len(batch.Events)
			if more := least(count-granted, len(batch.Events)); more > 0 {
				granted += more
				credit := &v1.SubscribeRequest_Credit{Credit: &v1.Credit{Events: int64(more)}}
				if err := say(stream, &v1.SubscribeRequest{Message: credit}); err != nil {
					return handed, err
				}
			}
		case *v1.SubscribeResponse_Recalls:
			// Before any event: stop using these. There is no token to keep.
			if err := show(message.Recalls.Events, message.Recalls.Kinds); err != nil {
				return handed, err
			}
		case *v1.SubscribeResponse_Heartbeat:
			*token = message.Heartbeat.ResumeToken
			if err := keep(place, *token); err != nil {
				return handed, err
			}
		case *v1.SubscribeResponse_Draining:
			*token = message.Draining.ResumeToken
			if err := keep(place, *token); err != nil {
				return handed, err
			}
		}
	}
	return count, stream.CloseSend()
}

// say sends a message. Where the stream is over, Recv has the reason.
func say(stream v1.SubscriptionService_SubscribeClient, message *v1.SubscribeRequest) error {
	if err := stream.Send(message); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// show prints what happened, one event a line.
func show(events []*v1.Event, kinds []v1.EventKind) error {
	if len(kinds) != 0 && len(kinds) != len(events) {
		return fmt.Errorf("%d kinds for %d events: the hub broke the protocol", len(kinds), len(events))
	}
	for i, event := range events {
		kind := v1.EventKind_EVENT_KIND_NEW
		if len(kinds) > 0 {
			kind = kinds[i]
		}
		if _, known := v1.EventKind_name[int32(kind)]; !known || kind == v1.EventKind_EVENT_KIND_UNSPECIFIED {
			return fmt.Errorf("event kind %d is not known; update this client", kind)
		}
		indicator := event.GetIndicator()
		if _, err := fmt.Println(kind, indicator.GetName(), value(indicator.GetObservable())); err != nil {
			return err
		}
	}
	return nil
}

// value is the canonical text of an observable, whichever field holds it.
func value(observable *v1.Observable) string {
	if file := observable.GetFile(); file != nil {
		return strings.TrimSpace(strings.Join([]string{file.Sha256, file.Sha512, file.Sha1, file.Md5}, " "))
	}
	message := observable.ProtoReflect()
	field := message.WhichOneof(message.Descriptor().Oneofs().ByName("value"))
	if field == nil {
		return ""
	}
	return message.Get(field).String()
}

// keep replaces the file as a whole, so that it never holds half a token.
func keep(place string, token []byte) error {
	beside, err := os.CreateTemp(filepath.Dir(place), ".token-*")
	if err != nil {
		return err
	}
	defer os.Remove(beside.Name())
	_, err = beside.Write(token)
	if err == nil {
		err = beside.Sync()
	}
	if closed := beside.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(beside.Name(), place)
}

func least(a, b int) int {
	if a < b {
		return a
	}
	return b
}
