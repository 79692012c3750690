package client

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"log/slog"
	"sync"
	"time"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// ErrClosed says that the client, or the stream that was asked, has been closed by its owner.
var ErrClosed = errors.New("closed")

// Option changes a Client.
type Option func(*options)

type options struct {
	authorization string
	transport     credentials.TransportCredentials
	dial          []grpc.DialOption
	firstWait     time.Duration
	longestWait   time.Duration
	buffer        int
	bufferBytes   int64
	inFlight      int
	inFlightBytes int64
	log           *slog.Logger
}

// WithUser logs in with a name and a password. Without it the client is anonymous.
func WithUser(name, password string) Option {
	return func(o *options) {
		o.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
	}
}

// WithToken logs in with a bearer token.
func WithToken(token string) Option { return func(o *options) { o.authorization = "Bearer " + token } }

// WithTLS connects by TLS. Without it the connection is in the clear.
func WithTLS(cfg *tls.Config) Option {
	return func(o *options) { o.transport = credentials.NewTLS(cfg) }
}

// WithDialOptions adds options of gRPC's own, such as interceptors.
func WithDialOptions(more ...grpc.DialOption) Option {
	return func(o *options) { o.dial = append(o.dial, more...) }
}

// WithReconnect sets the pauses before a lost connection or stream is opened again: random, up to first, and up to twice as much each time until it is longest. Default 100 ms and 10 s.
func WithReconnect(first, longest time.Duration) Option {
	return func(o *options) { o.firstWait, o.longestWait = first, longest }
}

// WithBuffer bounds what may wait in each stream for whoever takes it; default 256 messages and 16 MiB. One message may always wait, however large.
func WithBuffer(messages int, bytes int64) Option {
	return func(o *options) { o.buffer, o.bufferBytes = messages, bytes }
}

// WithInFlight bounds what PublishAsync may have unanswered; default 1,024 messages and 16 MiB.
func WithInFlight(messages int, bytes int64) Option {
	return func(o *options) { o.inFlight, o.inFlightBytes = messages, bytes }
}

// WithLog sets where lost and found streams are told; default nowhere.
func WithLog(log *slog.Logger) Option { return func(o *options) { o.log = log } }

func settle(more []Option) options {
	o := options{
		transport: insecure.NewCredentials(), firstWait: 100 * time.Millisecond, longestWait: 10 * time.Second,
		buffer: 256, bufferBytes: 16 << 20, inFlight: 1024, inFlightBytes: 16 << 20, log: slog.New(slog.DiscardHandler),
	}
	for _, set := range more {
		set(&o)
	}
	o.firstWait = max(o.firstWait, time.Millisecond)
	o.longestWait = max(o.longestWait, o.firstWait)
	o.buffer, o.inFlight = max(o.buffer, 1), max(o.inFlight, 1)
	o.bufferBytes, o.inFlightBytes = max(o.bufferBytes, 1), max(o.inFlightBytes, 1)
	return o
}

// Client is a connection to a gateway. It may be used by any number of goroutines.
type Client struct {
	// immutable
	options options
	conn    *grpc.ClientConn
	api     porticov1.PorticoServiceClient
	ctx     context.Context // ends with Close
	end     context.CancelFunc

	running sync.WaitGroup // goroutines of streams

	// guarded by mu
	mu        sync.Mutex
	closed    bool
	publisher *publisher // nil until the first PublishAsync
}

// Connect makes a client of the gateway whose gRPC door is at address, host:port. It does not wait for the connection: the first call does. Close must be called.
func Connect(address string, more ...Option) (*Client, error) {
	o := settle(more)
	all := append([]grpc.DialOption{
		grpc.WithTransportCredentials(o.transport),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 10 * time.Second, Backoff: backoff.Config{
			BaseDelay: o.firstWait / 2, Multiplier: 2, Jitter: 1, MaxDelay: o.longestWait / 2, // jitter is added or taken off: from nothing to twice the delay
		}}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 15 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxFrame), grpc.WaitForReady(true)),
	}, o.dial...)
	if o.authorization != "" {
		all = append(all, grpc.WithPerRPCCredentials(login(o.authorization)))
	}
	conn, err := grpc.NewClient(address, all...)
	if err != nil {
		return nil, err
	}
	c := &Client{options: o, conn: conn, api: porticov1.NewPorticoServiceClient(conn)}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c, nil
}

// maxFrame is the largest frame that is taken: a gateway's messages have at most 128 MiB, and a batch is about one more.
const maxFrame = 160 << 20

// login are credentials that every call shows. They are shown in the clear if the connection is.
type login string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (l login) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": string(l)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (login) RequireTransportSecurity() bool { return false }

// Conn is the connection, for the calls that this package has no words for: porticov1.NewPorticoServiceClient(c.Conn()) declares queues, and so on. It ends with Close.
func (c *Client) Conn() grpc.ClientConnInterface { return c.conn }

// Close ends all streams, fails what PublishAsync has not been answered for (Flush waits for it), and returns when nothing of the client is left running.
func (c *Client) Close() error {
	c.mu.Lock()
	closed, p := c.closed, c.publisher
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	c.end()
	c.running.Wait()
	if p != nil {
		p.fail(ErrClosed)
	}
	return c.conn.Close()
}

// run starts a goroutine of the client's; false when it has been closed.
func (c *Client) run(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.running.Go(f)
	return true
}
