package core

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// directory is what is known of the account's streams without asking: which subjects each captures, and how it is read. It is read whole at the start and
// stream by stream when one changes: by us, before the caller hears of it; by a NATS client, when JetStream tells (advisories), a moment later.
type directory struct {
	// immutable
	streams *streams
	turn    chan struct{} // held while something is looked up and entered, so that what is older never follows what is newer
	wake    chan struct{}

	subjects atomic.Pointer[trie[*knownStream]] // of the streams that acknowledge

	// guarded by mu
	mu     sync.Mutex
	byName map[string]*knownStream
	doubts map[string]doubt // to be looked up again
	all    doubt            // everything is, if it has looks left
}

// doubt says when a stream is looked up, and how often still. JetStream tells of a stream before it has it, and before it is gone: one look may be too early.
type doubt struct {
	due  time.Time
	left int
}

// knownStream is what the directory has of a stream. Immutable.
type knownStream struct {
	name      string
	created   time.Time
	subjects  []string
	direct    bool // direct gets are allowed
	workQueue bool
	silent    bool // it does not acknowledge
}

const (
	maxDoubts      = 1000                  // names; above, everything is looked up
	doubtLooks     = 4                     // at a stream
	doubtPause     = 20 * time.Millisecond // between the first two; then ten times as long each
	listPage       = 256                   // infos in an answer of STREAM.LIST
	listTries      = 5                     // when streams come and go meanwhile
	maxStreamCount = 100_000               // that are looked at
	advisories     = "$JS.EVENT.ADVISORY.STREAM.*.*"
	ownStreams     = "$MQTT_" // prefix of the streams that the server keeps for MQTT clients
)

func newDirectory(s *streams) *directory {
	d := &directory{streams: s, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), byName: map[string]*knownStream{}, doubts: map[string]doubt{}}
	d.subjects.Store(&trie[*knownStream]{})
	return d
}

// begin listens for changes and reads everything once.
func (d *directory) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	_, err := d.streams.nc.Subscribe(advisories, func(m *nats.Msg) { d.doubt(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]) })
	if err != nil {
		return err
	}
	if err := d.streams.nc.FlushWithContext(ctx); err != nil {
		return err
	}
	if err := d.readAll(ctx); err != nil {
		return err
	}
	d.streams.over.Go(d.loop)
	return nil
}

// of returns the name of the stream that acknowledges what is published on subject, or "".
func (d *directory) of(subject string) string {
	t := d.subjects.Load()
	if t.root == nil {
		return ""
	}
	var room [4]*knownStream
	found := t.match(subject, room[:0])
	if len(found) == 0 {
		return ""
	}
	return found[0].name
}

// lookup returns what is known of a stream, nil if nothing is.
func (d *directory) lookup(name string) *knownStream {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byName[name]
}

// doubt has a stream looked up again soon, all of them with "".
func (d *directory) doubt(name string) {
	now := doubt{due: time.Now(), left: doubtLooks}
	d.mu.Lock()
	if _, there := d.doubts[name]; name != "" && (there || len(d.doubts) < maxDoubts) {
		d.doubts[name] = now
	} else {
		d.all = now
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// loop looks up what is in doubt.
func (d *directory) loop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-d.wake:
		case <-timer.C:
		case <-d.streams.ctx.Done():
			return
		}
		timer.Reset(d.settleDoubts(d.streams.ctx))
	}
}

// settleDoubts looks up what is due and returns how long nothing else is.
func (d *directory) settleDoubts(ctx context.Context) (pause time.Duration) {
	names, all := d.due(time.Now())
	if all {
		if err := d.readAll(ctx); err != nil {
			d.later("")
		}
	}
	for _, name := range names {
		if _, err := d.refresh(ctx, name); err != nil && codeOf(err) != CodeNotFound {
			d.later(name)
		}
	}
	return d.nextDue()
}

// due returns what is to be looked up now, and notes when it is again.
func (d *directory) due(now time.Time) (names []string, all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if all = d.all.left > 0 && !d.all.due.After(now); all {
		d.all = d.all.looked(now)
	}
	for name, what := range d.doubts {
		if what.due.After(now) {
			continue
		}
		names = append(names, name)
		if d.doubts[name] = what.looked(now); what.left == 1 {
			delete(d.doubts, name)
		}
	}
	return names, all
}

// looked is a doubt after another look.
func (w doubt) looked(now time.Time) doubt {
	pause := doubtPause
	for range doubtLooks - w.left {
		pause *= 10
	}
	return doubt{due: now.Add(pause), left: w.left - 1}
}

// later has a look-up that failed repeated.
func (d *directory) later(name string) {
	again := doubt{due: time.Now().Add(5 * doubtPause), left: doubtLooks}
	d.mu.Lock()
	defer d.mu.Unlock()
	if name == "" {
		d.all = again
	} else {
		d.doubts[name] = again
	}
}

// nextDue is the time until something is to be looked up, an hour if nothing is.
func (d *directory) nextDue() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	pause := time.Hour
	if d.all.left > 0 {
		pause = min(pause, time.Until(d.all.due))
	}
	for _, what := range d.doubts {
		pause = min(pause, time.Until(what.due))
	}
	return max(pause, 0)
}

// refresh looks a stream up and enters what it finds. CodeNotFound when there is none, which is entered too.
func (d *directory) refresh(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return nil, busError(ctx.Err())
	}
	info, err := d.streams.streamInfo(ctx, name)
	switch {
	case err == nil:
		d.enter(name, known(info))
	case AsError(err).Code == CodeNotFound:
		d.enter(name, nil)
	}
	return info, err
}

// streamInfo asks for a stream's description.
func (s *streams) streamInfo(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	info := new(jetstream.StreamInfo)
	if err := s.ask(ctx, "STREAM.INFO."+name, nil, info); err != nil {
		return nil, named(err, "stream", name)
	}
	return info, nil
}

func known(info *jetstream.StreamInfo) *knownStream {
	return &knownStream{
		name: info.Config.Name, created: info.Created, subjects: info.Config.Subjects, direct: info.Config.AllowDirect,
		workQueue: info.Config.Retention == jetstream.WorkQueuePolicy, silent: info.Config.NoAck,
	}
}

// enter replaces what is known of a stream; nil: it is gone.
func (d *directory) enter(name string, k *knownStream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subjects.Store(d.replace(*d.subjects.Load(), name, k))
}

// replace is enter on a trie that is not in force yet. The caller holds mu.
func (d *directory) replace(t trie[*knownStream], name string, k *knownStream) *trie[*knownStream] {
	old := d.byName[name]
	if old != nil && !old.silent {
		for _, subject := range old.subjects {
			t = t.without(subject, old)
		}
	}
	if k == nil {
		delete(d.byName, name)
		d.streams.gateway.server.forgetStream(d.streams.account, name)
	} else {
		d.byName[name] = k
	}
	if k != nil && !k.silent {
		for _, subject := range k.subjects {
			t = t.with(subject, k)
		}
	}
	if old != nil && (k == nil || !k.created.Equal(old.created)) {
		d.streams.tails.lost(old)
	}
	return &t
}

// readAll replaces everything by what there is.
func (d *directory) readAll(ctx context.Context) error {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return busError(ctx.Err())
	}
	found, err := d.streams.listStreams(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.subjects.Load()
	for name := range d.byName {
		if found[name] == nil {
			t = d.replace(*t, name, nil)
		}
	}
	for name, k := range found {
		t = d.replace(*t, name, k)
	}
	d.subjects.Store(t)
	return nil
}

// listStreams reads the descriptions of all streams.
func (s *streams) listStreams(ctx context.Context) (map[string]*knownStream, error) {
	for range listTries {
		found := map[string]*knownStream{}
		total := -1
		for offset := 0; total < 0 || offset < min(total, maxStreamCount); offset += listPage {
			var page struct {
				Total   int                     `json:"total"`
				Streams []*jetstream.StreamInfo `json:"streams"`
			}
			if err := s.ask(ctx, "STREAM.LIST", map[string]int{"offset": offset}, &page); err != nil {
				return nil, err
			}
			if total >= 0 && page.Total != total { // the pages do not fit together
				found = nil
				break
			}
			total = page.Total
			for _, info := range page.Streams {
				found[info.Config.Name] = known(info)
			}
		}
		if found != nil {
			return found, nil
		}
	}
	return nil, Errorf(CodeUnavailable, "the streams change too quickly to be listed")
}

// streamNames lists the names of the account's streams in order, the gateway's own left out.
func (s *streams) streamNames(ctx context.Context) ([]string, error) {
	var names []string
	for total := 1; len(names) < total && len(names) < maxStreamCount; {
		var page struct {
			Total   int      `json:"total"`
			Streams []string `json:"streams"`
		}
		if err := s.ask(ctx, "STREAM.NAMES", map[string]int{"offset": len(names)}, &page); err != nil {
			return nil, err
		}
		if len(page.Streams) == 0 {
			break
		}
		names, total = append(names, page.Streams...), page.Total
	}
	return sortedNames(names), nil
}

// StreamOf returns the name of the stream that keeps what is published on subject and says so, "" if there is none. It waits for nothing and asks nobody: a stream that a NATS client has
// just made or deleted may be known a moment later.
func (b *Bus) StreamOf(subject string) string {
	if b.tenant.streams == nil {
		return ""
	}
	return b.tenant.streams.directory.of(subject)
}
