package jslog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"portico/core/queue"
)

// Errors an append can fail with, beside those of package queue. They are wrapped with what the server said.
var (
	ErrNoSpace     = errors.New("log store is full")         // the server's or the disk's limits are reached
	ErrUnavailable = errors.New("log store does not answer") // timeout, connection lost, or no such stream
	ErrTooLarge    = errors.New("log entry is too large")    // see Options.MaxEntry
	ErrBusy        = errors.New("too many appends wait")     // more than maxWaiting appends are unanswered on one log
	ErrSync        = errors.New("log store failed to sync")  // final: the process has to start again
)

const (
	maxWindow    = 64       // appends under way on one log
	maxWindowLen = 32 << 20 // bytes of them (one may be larger)
	maxWaiting   = 1024     // appends under way or waiting on one log
	maxAPI       = 64       // requests to the JetStream API under way
	maxReads     = 32 << 20 // bytes of reads under way; the server's MaxPending must exceed it
	maxRead      = 4 << 20  // bytes one read asks for
	overhead     = 1 << 10  // bytes of header in MaxPayload beside an entry

	streamPrefix  = "Q_"
	subjectPrefix = "Q."
	nameKey       = "portico.queue" // metadata key of a log's name

	duplicates = 100 * time.Millisecond // how long the server remembers ids; its minimum, as ours never recur
)

// Options configure a Store. Dir is required where Sync is set.
type Options struct {
	Dir        string              // the server's JetStream store directory
	Sync       bool                // done means on disk; false: written to the operating system
	AckTimeout time.Duration       // an append, read or other request without answer fails after so long (an append up to a quarter later); default 10 s
	MaxEntry   int                 // bytes of the largest entry; default: what the server's MaxPayload leaves
	Dropped    func(stream string) // told of each stream that was deleted. Must not block. nil: not
	Failed     func(error)         // told of errors of the store itself: full, unavailable, not syncing. Must not block. nil: not
	Logger     *slog.Logger        // nil: none
}

// Store keeps the logs of one node. Its methods may be called from any goroutine.
type Store struct {
	// immutable
	opts    Options
	nc      *nats.Conn // appends and their answers; the caller's
	reads   *nats.Conn // everything else; ours
	js      jetstream.JetStream
	answers string // subject prefix of answers
	sub     *nats.Subscription
	disk    *disk
	api     chan struct{} // a slot per API request under way
	budget  *semaphore.Weighted
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc

	logs   sync.Map // of *streamLog by id: the second last token of the answer subject
	lastID atomic.Uint64
	broken atomic.Pointer[error] // the sync error, once there was one
	wg     sync.WaitGroup        // goroutines started by spawn

	// guarded by mu, which may be taken while a log's mu is held, not the other way round
	mu       sync.Mutex
	closed   bool
	outcomes []outcome // answered, not yet told
	draining bool      // a goroutine is telling
	drained  sync.Cond // signalled when draining ends
	trims    []*streamLog
	trimmers int

	spare []outcome // owned by the goroutine that drains
}

// NewStore starts a store. nc is a connection to the internal account and stays the caller's, to be closed after the store; a second one is opened
// with the same options. Nothing else may publish on the logs' subjects.
func NewStore(nc *nats.Conn, opts Options) (*Store, error) {
	if opts.AckTimeout <= 0 {
		opts.AckTimeout = 10 * time.Second
	}
	if opts.MaxEntry <= 0 {
		opts.MaxEntry = int(nc.MaxPayload()) - overhead
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{opts: opts, nc: nc, answers: "_QLOG." + token() + ".", api: make(chan struct{}, maxAPI), budget: semaphore.NewWeighted(maxReads)}
	s.drained.L = &s.mu
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.connect(); err != nil {
		s.release()
		return nil, err
	}
	status := nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	s.wg.Go(func() { s.watch(status) })
	return s, nil
}

func (s *Store) connect() (err error) {
	if s.opts.Sync {
		if s.disk, err = openDisk(s.opts.Dir); err != nil {
			return fmt.Errorf("open log store: %w", err)
		}
	}
	o := s.nc.Opts
	o.Name += " reads"
	o.ClosedCB, o.DisconnectedErrCB, o.ReconnectedCB, o.ConnectedCB, o.DisconnectedCB = nil, nil, nil, nil, nil
	if s.reads, err = o.Connect(); err != nil {
		return fmt.Errorf("connect log store: %w", err)
	}
	if s.js, err = jetstream.New(s.reads); err != nil {
		return fmt.Errorf("connect log store: %w", err)
	}
	if s.sub, err = s.nc.Subscribe(s.answers+"*.*", s.answered); err != nil {
		return fmt.Errorf("subscribe to log answers: %w", err)
	}
	return s.sub.SetPendingLimits(-1, -1) // bounded by the appends under way
}

// release gives back what connect took.
func (s *Store) release() {
	s.cancel()
	if s.sub != nil {
		_ = s.sub.Unsubscribe()
	}
	if s.reads != nil {
		s.reads.Close()
	}
	if s.disk != nil {
		_ = s.disk.close()
	}
}

// Open returns the log with this name (any bytes) and creates its stream if there is none; then labels go into the stream's metadata, else they are not looked at.
// Whoever opened it before is fenced by the first append.
func (s *Store) Open(ctx context.Context, name string, labels map[string]string) (queue.Log, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.AckTimeout)
	defer cancel()
	hash := hashOf(name)
	last, err := s.ensure(ctx, name, hash, labels)
	if err != nil {
		return nil, fmt.Errorf("open log %q: %w", name, err)
	}
	id := strconv.FormatUint(s.lastID.Add(1), 36)
	l := newStreamLog(s, name, id, hash, last)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, queue.ErrClosed
	}
	s.logs.Store(id, l)
	return l, nil
}

// ensure finds or creates the stream and returns its last sequence number.
func (s *Store) ensure(ctx context.Context, name, hash string, labels map[string]string) (uint64, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.leave()
	str, err := s.js.Stream(ctx, streamPrefix+hash)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		str, err = s.js.CreateStream(ctx, configOf(name, hash, labels))
	}
	if err != nil {
		return 0, err
	}
	info := str.CachedInfo()
	if got := info.Config.Metadata[nameKey]; got != url.PathEscape(name) {
		return 0, fmt.Errorf("stream %s belongs to %q", info.Config.Name, got)
	}
	return info.State.LastSeq, nil
}

func configOf(name, hash string, labels map[string]string) jetstream.StreamConfig {
	meta := map[string]string{nameKey: url.PathEscape(name)}
	for k, v := range labels {
		if k != nameKey {
			meta[k] = v
		}
	}
	return jetstream.StreamConfig{
		Name: streamPrefix + hash, Subjects: []string{subjectPrefix + hash}, Metadata: meta,
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Replicas: 1, AllowDirect: true,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, Duplicates: duplicates,
	}
}

// Drop removes the log with this name from disk; no error if there is none.
func (s *Store) Drop(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.AckTimeout)
	defer cancel()
	if err := s.enter(ctx); err != nil {
		return fmt.Errorf("drop log %q: %w", name, err)
	}
	defer s.leave()
	stream := streamPrefix + hashOf(name)
	if err := s.js.DeleteStream(ctx, stream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("drop log %q: %w", name, err)
	}
	if s.opts.Dropped != nil {
		s.opts.Dropped(stream)
	}
	return nil
}

// Names returns the names of the logs on disk, open or not, in no order.
func (s *Store) Names(ctx context.Context) ([]string, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	defer s.leave()
	var names []string
	list := s.js.ListStreams(ctx, jetstream.WithStreamListSubject(subjectPrefix+"*"))
	for info := range list.Info() {
		name, err := url.PathUnescape(info.Config.Metadata[nameKey])
		if err == nil && info.Config.Name == streamPrefix+hashOf(name) {
			names = append(names, name)
		}
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	return names, nil
}

// Close fails what is under way with queue.ErrClosed, tells everybody, and ends the store's goroutines. Logs answer queue.ErrClosed afterwards. It may be called twice.
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return nil
	}
	for _, l := range s.logs.Range {
		l.(*streamLog).end(queue.ErrClosed)
	}
	s.cancel()
	s.wg.Wait()
	s.mu.Lock()
	for s.draining || len(s.outcomes) > 0 {
		s.drained.Wait()
	}
	s.mu.Unlock()
	s.release()
	return nil
}

// watch fails appends when the connection breaks or answers stay away.
func (s *Store) watch(status chan nats.Status) {
	defer s.nc.RemoveStatusListener(status)
	tick := time.NewTicker(s.opts.AckTimeout / patience)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case st := <-status:
			err := fmt.Errorf("%w: connection is %s", ErrUnavailable, strings.ToLower(st.String()))
			for _, l := range s.logs.Range {
				l.(*streamLog).interrupted(err)
			}
			s.report(err)
		case <-tick.C:
			for _, l := range s.logs.Range {
				l.(*streamLog).tick()
			}
		}
	}
}

// answered is called for every answer to an append, in the order of their arrival.
func (s *Store) answered(m *nats.Msg) {
	id, epoch, _ := strings.Cut(m.Subject[len(s.answers):], ".")
	if l, ok := s.logs.Load(id); ok {
		l.(*streamLog).answered(epoch, m)
	}
}

// spawn runs f in a goroutine that Close waits for; false once the store is closed.
func (s *Store) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(f)
	return true
}

// enter waits for an API slot, which leave gives back.
func (s *Store) enter(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return queue.ErrClosed
	}
	select {
	case s.api <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return queue.ErrClosed
	}
}

func (s *Store) leave() { <-s.api }

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// hashOf is 128 bits of the name's SHA-256: 26 characters.
func hashOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return encoding.EncodeToString(sum[:16])
}

// token is 8 random characters.
func token() string { return rand.Text()[:8] }
