package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"
)

// streams is the gateway's way to JetStream in the tenant's account, where NATS clients work too: one connection, what is known of the streams there
// (directory), and what is shared by those who follow one (tail). Its methods may be called from any goroutine.
type streams struct {
	// immutable
	gateway   *Gateway
	account   string // the tenant's own
	nc        *nats.Conn
	api       chan struct{}       // a slot for each request under way
	reads     *semaphore.Weighted // bytes that reads under way may bring
	directory *directory
	tails     *tails
	objects   *objectLocks
	changing  chan struct{} // held by whoever makes sure that something is there and is what it is to be

	ctx  context.Context // ends with close
	stop context.CancelFunc
	over sync.WaitGroup
}

const (
	maxStreamRequests = 64              // requests to JetStream under way
	maxStreamReads    = 32 << 20        // bytes of reads under way; the server's MaxPending must exceed it
	streamPatience    = 5 * time.Second // what JetStream has for an answer if the caller sets no deadline
	apiPrefix         = "$JS.API."
)

// openStreams connects to the tenant's account as the gateway and learns which streams there are.
func openStreams(ctx context.Context, g *Gateway, account string) (*streams, error) {
	s := &streams{
		gateway: g, account: account, api: make(chan struct{}, maxStreamRequests), reads: semaphore.NewWeighted(maxStreamReads), changing: make(chan struct{}, 1), objects: newObjectLocks(),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.directory, s.tails = newDirectory(s), newTails(s)
	var err error
	s.nc, err = nats.Connect("", nats.InProcessServer(g.server), nats.UserInfo(bootPrefix+account, g.server.password), nats.Name("portico streams"),
		nats.MaxReconnects(-1), nats.ReconnectWait(redialDelay), nats.RetryOnFailedConnect(false),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			g.log.Warn("streams' connection", "err", err)
			s.directory.doubt("") // it may have missed something
		}),
		nats.ReconnectHandler(func(*nats.Conn) { s.directory.doubt("") }))
	if err == nil {
		err = s.directory.begin(ctx)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("open streams: %w", err)
	}
	s.over.Go(s.sweeping)
	return s, nil
}

// close ends the connection and whatever runs for it. Who follows a stream is told that it is not available any more.
func (s *streams) close() {
	if s == nil {
		return
	}
	s.tails.close() // nothing is started any more
	s.stop()
	s.over.Wait()
	if s.nc != nil {
		s.nc.Close()
	}
}

// apiAnswer is what every answer of the API may be.
type apiAnswer struct {
	Error *jetstream.APIError `json:"error"`
}

// ask sends a request to the JetStream API and decodes the answer into answer (nil: only errors count). The error is an *Error.
func (s *streams) ask(ctx context.Context, verb string, request, answer any) error {
	body, err := encodeRequest(request)
	if err != nil {
		return err
	}
	m, err := s.send(ctx, nats.NewMsg(apiPrefix+verb), body)
	if err != nil {
		return err
	}
	var failed apiAnswer
	if err := json.Unmarshal(m.Data, &failed); err != nil {
		return &Error{Code: CodeInternal, Detail: "internal error", Err: fmt.Errorf("answer of %s: %w", verb, err)}
	}
	if failed.Error != nil {
		return apiError(failed.Error)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		return &Error{Code: CodeInternal, Detail: "internal error", Err: fmt.Errorf("answer of %s: %w", verb, err)}
	}
	return nil
}

func encodeRequest(request any) ([]byte, error) {
	if request == nil {
		return nil, nil
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, &Error{Code: CodeInternal, Detail: "internal error", Err: err}
	}
	return body, nil
}

// send sends m with body as a request and waits for its answer, at most streamPatience if ctx has no deadline.
func (s *streams) send(ctx context.Context, m *nats.Msg, body []byte) (*nats.Msg, error) {
	ctx, cancel := s.patient(ctx)
	defer cancel()
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	m.Data = body
	answer, err := s.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return nil, busError(err)
	}
	return answer, nil
}

// patient gives ctx a deadline if it has none.
func (s *streams) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, streamPatience)
}

// enter waits for a slot, which leave gives back.
func (s *streams) enter(ctx context.Context) error {
	select {
	case s.api <- struct{}{}:
		return nil
	case <-ctx.Done():
		return busError(ctx.Err())
	case <-s.ctx.Done():
		return Errorf(CodeUnavailable, "the gateway is stopping")
	}
}

func (s *streams) leave() { <-s.api }

// change lets one at a time look whether something is there and make it; done ends it.
func (s *streams) change(ctx context.Context) (done func(), err error) {
	select {
	case s.changing <- struct{}{}:
		return func() { <-s.changing }, nil
	case <-ctx.Done():
		return nil, busError(ctx.Err())
	case <-s.ctx.Done():
		return nil, Errorf(CodeUnavailable, "the gateway is stopping")
	}
}

// synced returns when everything that JetStream has written is on disk.
func (s *streams) synced(ctx context.Context) error {
	if err := s.gateway.store.Sync(ctx); err != nil {
		if code := AsError(err).Code; code == CodeTimeout {
			return err
		}
		return &Error{Code: CodeUnavailable, Detail: "the store does not keep what it has", Err: err}
	}
	return nil
}

// busError gives an error of a request its code.
func busError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return &Error{Code: CodeTimeout, Detail: "the streams did not answer in time", Err: err}
	case errors.Is(err, context.Canceled):
		return &Error{Code: CodeUnavailable, Detail: "cancelled", Err: err}
	case errors.Is(err, nats.ErrNoResponders):
		return &Error{Code: CodeNotFound, Detail: "there is nothing of that name", Err: err}
	case errors.Is(err, nats.ErrMaxPayload):
		return &Error{Code: CodeTooLarge, Detail: "larger than a message may be", Err: err}
	}
	return &Error{Code: CodeUnavailable, Detail: "the streams cannot be reached", Err: err}
}
