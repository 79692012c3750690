package core

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Member is somebody who is present on a subject.
type Member struct {
	Client string          `json:"client"` // names the connection; unique in all the bus
	User   string          `json:"user"`   // "" for anonymous
	Info   json.RawMessage `json:"info,omitempty"`
	Since  time.Time       `json:"since"`
}

// PresenceEvent is a change of who is present on a subject.
type PresenceEvent struct {
	Joined bool // else left
	Member Member
}

const (
	maxPresent   = 65_536  // members of this node
	maxElsewhere = 262_144 // members of the others
	maxNodes     = 256     // others
	maxClient    = 64      // bytes of a client's name
	maxInfo      = 1 << 10 // bytes of what a member says of itself
	maxWatches   = 65_536  // watches of this node
)

// presence is who is on which subject, on all nodes. Each node tells the others what changes of its own (presence_nodes.go), so that any of them can be asked.
//
// A room is a subject of a tenant. Callbacks run under mu: what a watcher hears fits what it was told at first.
type presence struct {
	// immutable
	node string
	log  *slog.Logger
	nc   *nats.Conn

	ctx  context.Context // ends with close
	stop context.CancelFunc
	over sync.WaitGroup

	// guarded by mu
	mu      sync.Mutex
	rooms   map[string]*room
	own     int // members of this node
	others  int // members of other nodes
	watches int
	said    uint64 // notes that changed something
	nodes   map[string]*peer
	full    bool // it was told that maxElsewhere is reached
}

// room is a subject of a tenant, as long as anybody is there or looks.
type room struct {
	members  map[string]*attendee // by client
	watchers map[*presenceWatch]struct{}
}

type attendee struct {
	Member
	node string
}

type presenceWatch struct{ changed func(PresenceEvent) }

// roomKey names a room. No subject has a blank.
func roomKey(tenant, subject string) string { return tenant + " " + subject }

// Attend makes client present on a subject, which has no wildcards, until leave is called (once or more often; it may be called from anywhere). info is a JSON object of at most 1 KiB, or nil.
// CodePreconditionFailed when the client is there already; CodeResourceExhausted, CodeInvalid, CodePermissionDenied: it must be allowed to subscribe.
func (b *Bus) Attend(subject, client string, info json.RawMessage) (leave func(), err error) {
	key, err := b.roomOf(subject)
	if err != nil {
		return nil, err
	}
	if client == "" || len(client) > maxClient || len(info) > maxInfo {
		return nil, Errorf(CodeInvalid, "a client's name has 1 to %d bytes, its info at most %d", maxClient, maxInfo)
	}
	p := b.tenant.gateway.presence
	m := &attendee{Member: Member{Client: client, User: b.User(), Info: info, Since: time.Now().UTC()}, node: p.node}
	if err := p.join(key, m); err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { p.leave(key, client) }), nil
}

// Present lists who is on a subject, those who came first first, at most limit; count is how many there are. CodeInvalid, CodePermissionDenied.
func (b *Bus) Present(subject string, limit int) (members []Member, count int, err error) {
	key, err := b.roomOf(subject)
	if err != nil {
		return nil, 0, err
	}
	p := b.tenant.gateway.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	members, count = p.list(key, limit)
	return members, count, nil
}

// WatchPresence is Present, which begin is told, and calls changed with every change from then on, in order, until stop is called. Neither must block, nor call the Bus. CodeResourceExhausted too.
func (b *Bus) WatchPresence(subject string, limit int, begin func(members []Member, count int), changed func(PresenceEvent)) (stop func(), err error) {
	key, err := b.roomOf(subject)
	if err != nil {
		return nil, err
	}
	p := b.tenant.gateway.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watches >= maxWatches {
		return nil, Errorf(CodeResourceExhausted, "%d watches are open, the most there may be", maxWatches)
	}
	w := &presenceWatch{changed}
	p.watches++
	p.room(key).watchers[w] = struct{}{}
	begin(p.list(key, limit))
	return sync.OnceFunc(func() { p.unwatch(key, w) }), nil
}

// roomOf checks that this identity may look at a subject.
func (b *Bus) roomOf(subject string) (string, error) {
	if err := checkSubject(subject); err != nil {
		return "", err
	}
	return roomKey(b.tenant.name, subject), b.Allow(actionSubscribe, subject)
}

// join adds a member of this node.
func (p *presence) join(key string, m *attendee) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.rooms[key]; r != nil && r.members[m.Client] != nil {
		return Errorf(CodePreconditionFailed, "the client is present on that subject already")
	}
	if p.own >= maxPresent {
		return Errorf(CodeResourceExhausted, "%d are present on this node, the most there may be", maxPresent)
	}
	p.own++
	p.add(key, m)
	p.say(presenceNote{Joins: []presentNote{{key, m.Member}}})
	return nil
}

// leave takes out a member of this node.
func (p *presence) leave(key, client string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.remove(key, client, p.node) {
		p.own--
		p.say(presenceNote{Leaves: []presentNote{{key, Member{Client: client}}}})
	}
}

// room returns a room, which it makes. The caller holds mu.
func (p *presence) room(key string) *room {
	r := p.rooms[key]
	if r == nil {
		r = &room{members: map[string]*attendee{}, watchers: map[*presenceWatch]struct{}{}}
		p.rooms[strings.Clone(key)] = r
	}
	return r
}

// add puts a member into its room and tells. The caller holds mu.
func (p *presence) add(key string, m *attendee) {
	r := p.room(key)
	r.members[m.Client] = m
	for w := range r.watchers {
		w.changed(PresenceEvent{Joined: true, Member: m.Member})
	}
}

// remove takes a member of a node out of its room and tells. The caller holds mu.
func (p *presence) remove(key, client, node string) bool {
	r := p.rooms[key]
	if r == nil {
		return false
	}
	m := r.members[client]
	if m == nil || m.node != node {
		return false
	}
	delete(r.members, client)
	for w := range r.watchers {
		w.changed(PresenceEvent{Member: m.Member})
	}
	p.sweep(key, r)
	return true
}

// sweep forgets a room that nobody needs. The caller holds mu.
func (p *presence) sweep(key string, r *room) {
	if len(r.members) == 0 && len(r.watchers) == 0 {
		delete(p.rooms, key)
	}
}

func (p *presence) unwatch(key string, w *presenceWatch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches--
	if r := p.rooms[key]; r != nil {
		delete(r.watchers, w)
		p.sweep(key, r)
	}
}

// list is who is in a room. The caller holds mu.
func (p *presence) list(key string, limit int) (members []Member, count int) {
	r := p.rooms[key]
	if r == nil {
		return []Member{}, 0
	}
	members = make([]Member, 0, len(r.members))
	for _, m := range r.members {
		members = append(members, m.Member)
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.Client, b.Client)) })
	count = len(members)
	return members[:min(count, max(limit, 0))], count
}
