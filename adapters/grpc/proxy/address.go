package proxy

import (
	"context"

	"google.golang.org/grpc/peer"
)

// addressOf is where a caller is.
func addressOf(ctx context.Context) (string, bool) {
	who, ok := peer.FromContext(ctx)
	if !ok || who.Addr == nil {
		return "", false
	}
	return who.Addr.String(), true
}
