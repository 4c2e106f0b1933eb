package main

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Tries of a call, or of a stream since it last brought something.
const tries = 7

// requestID draws the UUID under which a write is known to the hub.
func requestID() string {
	var id [16]byte
	if _, err := crand.Read(id[:]); err != nil {
		panic(err)
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// retry makes a call within a deadline, again where that is safe.
func retry(ctx context.Context, call func(context.Context) error) error {
	ctx, end := context.WithTimeout(ctx, deadline)
	defer end()
	for made := 1; ; made++ {
		err := call(ctx)
		if err == nil {
			return nil
		}
		if wait := pause(err, made); wait < 0 || !sleep(ctx, wait) {
			return err
		}
	}
}

// pause says how long to wait before the next try; negative: none would help.
// Only UNAVAILABLE is tried again, as docs/errors.md says: the hub is away, and
// reads and writes under a request id come out the same for being asked twice.
func pause(err error, made int) time.Duration {
	told := status.Convert(err)
	if told.Code() != codes.Unavailable || made >= tries {
		return -1
	}
	for _, detail := range told.Details() {
		if info, is := detail.(*errdetails.RetryInfo); is {
			return info.RetryDelay.AsDuration()
		}
	}
	longest := 100 * time.Millisecond << made
	return longest/2 + time.Duration(rand.Int63n(int64(longest/2)))
}

// sleep waits, and says whether it was let.
func sleep(ctx context.Context, wait time.Duration) bool {
	select {
	case <-time.After(wait):
		return true
	case <-ctx.Done():
		return false
	}
}

// reason is the stable cause of a refusal: a program acts on this word, never
// on the message.
func reason(refusal *spb.Status) string {
	for _, detail := range status.FromProto(refusal).Details() {
		if info, is := detail.(*errdetails.ErrorInfo); is {
			return info.Reason
		}
	}
	return codes.Code(refusal.GetCode()).String()
}

// explain puts the reason in front of the words for people.
func explain(err error) string {
	told, refused := status.FromError(err)
	if !refused {
		return err.Error()
	}
	return reason(told.Proto()) + ": " + told.Message()
}
