package main

import (
	"context"
	"log"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// renewNow is in the trailers of the hub's answers while it asks the holder of
// a certificate to renew it at once, whatever its age.
const renewNow = "luytre-renew-now"

var told sync.Once

// heed tells, once, that the hub asks for a renewal. A program that runs for
// long has `luytre cert agent` renew, or renews by itself.
func heed(trailer metadata.MD) {
	if values := trailer.Get(renewNow); len(values) > 0 && values[0] == "1" {
		told.Do(func() { log.Print("the hub asks to renew the certificate now; run: luytre cert renew") })
	}
}

// heedAnswers looks at the trailers of every single call.
func heedAnswers(ctx context.Context, method string, request, answer interface{}, connection *grpc.ClientConn,
	call grpc.UnaryInvoker, options ...grpc.CallOption) error {
	var trailer metadata.MD
	err := call(ctx, method, request, answer, connection, append(options, grpc.Trailer(&trailer))...)
	heed(trailer)
	return err
}
