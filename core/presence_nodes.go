package core

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// How nodes tell each other who is present, on a subject of the internal account, where no client comes:
//
//	ask    a node that has begun, or has missed a note: who is asked, or all, say everything they have
//	full   everything a node has, in as many notes as it takes; what it does not name is not there
//	joins, leaves   what has changed, numbered
//	beat   nothing new; the number of the last change, by which a miss is found
//	bye    the node stops
//
// A node that says nothing for three beats is gone, and whoever was present there has left.
const (
	presenceSubject = "portico.presence"
	presenceBeat    = 5 * time.Second
	presencePatient = 3 * presenceBeat
	presenceNotes   = 256 << 10 // bytes of members in a note, about
	everyNode       = "*"
)

type presenceNote struct {
	Node   string        `json:"node"`
	Number uint64        `json:"n,omitempty"` // of the last change
	Ask    string        `json:"ask,omitempty"`
	Full   bool          `json:"full,omitempty"`
	First  bool          `json:"first,omitempty"` // of the notes that are full
	Last   bool          `json:"last,omitempty"`
	Joins  []presentNote `json:"joins,omitempty"`
	Leaves []presentNote `json:"leaves,omitempty"`
	Beat   bool          `json:"beat,omitempty"`
	Bye    bool          `json:"bye,omitempty"`
}

// presentNote is a member with its room.
type presentNote struct {
	Room   string `json:"room"`
	Member Member `json:"member"`
}

// peer is another node.
type peer struct {
	number  uint64    // of its last change that is known
	heard   time.Time // the last note
	asked   time.Time // when it was last asked for everything
	members map[presentKey]bool
	coming  map[presentKey]bool // while a full state is being told; nil: none is
}

type presentKey struct{ room, client string }

// openPresence begins to listen to the other nodes.
func openPresence(nc *nats.Conn, node string, log *slog.Logger) (*presence, error) {
	p := &presence{node: node, log: log, nc: nc, rooms: map[string]*room{}, nodes: map[string]*peer{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	sub, err := nc.Subscribe(presenceSubject, func(m *nats.Msg) { p.hear(m.Data) })
	if err != nil {
		return nil, fmt.Errorf("listen to who is present: %w", err)
	}
	p.mu.Lock()
	p.send(presenceNote{Ask: everyNode})
	p.mu.Unlock()
	p.over.Go(func() {
		defer func() { _ = sub.Unsubscribe() }()
		p.beat()
	})
	return p, nil
}

// close says goodbye.
func (p *presence) close() {
	if p == nil {
		return
	}
	p.stop()
	p.over.Wait()
	p.mu.Lock()
	p.send(presenceNote{Bye: true})
	p.mu.Unlock()
	_ = p.nc.FlushTimeout(time.Second) // the others notice without it, too
}

// say tells the others what has changed. The caller holds mu.
func (p *presence) say(n presenceNote) {
	p.said++
	p.send(n)
}

// send sends a note. What is lost is found by its number. The caller holds mu, which keeps the notes in order.
func (p *presence) send(n presenceNote) {
	n.Node, n.Number = p.node, p.said
	data, err := json.Marshal(n)
	if err == nil {
		err = p.nc.Publish(presenceSubject, data)
	}
	if err != nil {
		p.log.Debug("presence is not told", "err", err)
	}
}

// beat says that this node is there, as long as it has members, and looks for nodes that are gone.
func (p *presence) beat() {
	tick := time.NewTicker(presenceBeat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.tick(time.Now())
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *presence) tick(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.own > 0 {
		p.send(presenceNote{Beat: true})
	}
	for node, n := range p.nodes {
		if now.Sub(n.heard) > presencePatient {
			p.lose(node, n)
		}
	}
}

// lose takes a node out with all who were present there. The caller holds mu.
func (p *presence) lose(node string, n *peer) {
	delete(p.nodes, node)
	for k := range n.members {
		p.gone(node, n, k)
	}
}

// gone takes out one member of another node. The caller holds mu.
func (p *presence) gone(node string, n *peer, k presentKey) {
	if n.members[k] {
		delete(n.members, k)
		p.others--
		p.remove(k.room, k.client, node)
	}
}

// come adds one member of another node. The caller holds mu.
func (p *presence) come(node string, n *peer, m *presentNote) {
	k := presentKey{m.Room, m.Member.Client}
	if n.coming != nil {
		n.coming[k] = true
	}
	if n.members[k] {
		return
	}
	if r := p.rooms[k.room]; r != nil && r.members[k.client] != nil {
		return // the client is here, or came to a third node: that one counts until it leaves
	}
	if p.others >= maxElsewhere {
		if !p.full {
			p.full = true
			p.log.Error("too many are present on other nodes: not all of them are known here", "most", maxElsewhere)
		}
		return
	}
	p.others++
	n.members[k] = true
	p.add(k.room, &attendee{Member: m.Member, node: node})
}

// hear takes a note of another node.
func (p *presence) hear(data []byte) {
	var n presenceNote
	if err := json.Unmarshal(data, &n); err != nil || n.Node == "" || n.Node == p.node {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case n.Ask == p.node || n.Ask == everyNode:
		p.sayAll()
	case n.Ask != "":
	case n.Bye:
		if other := p.nodes[n.Node]; other != nil {
			p.lose(n.Node, other)
		}
	default:
		p.learn(&n)
	}
}

// learn takes a note about members. The caller holds mu.
func (p *presence) learn(n *presenceNote) {
	other := p.nodes[n.Node]
	if other == nil {
		if len(p.nodes) >= maxNodes {
			p.log.Error("too many nodes: who is present on one of them is not known here", "node", n.Node)
			return
		}
		other = &peer{members: map[presentKey]bool{}}
		p.nodes[n.Node] = other
	}
	now := time.Now()
	other.heard = now
	switch {
	case n.Full:
		p.learnAll(other, n)
		return
	case n.Beat && n.Number == other.number:
		return
	case !n.Beat && n.Number == other.number+1:
		other.number = n.Number
		for i := range n.Joins {
			p.come(n.Node, other, &n.Joins[i])
		}
		for i := range n.Leaves {
			k := presentKey{n.Leaves[i].Room, n.Leaves[i].Member.Client}
			delete(other.coming, k)
			p.gone(n.Node, other, k)
		}
		return
	}
	if now.Sub(other.asked) > presenceBeat/2 { // something was missed
		other.asked = now
		p.send(presenceNote{Ask: n.Node})
	}
}

// learnAll takes a part of everything that a node has. The caller holds mu.
func (p *presence) learnAll(other *peer, n *presenceNote) {
	if n.First {
		other.coming = map[presentKey]bool{}
	}
	if other.coming == nil {
		return // its beginning was missed
	}
	for i := range n.Joins {
		p.come(n.Node, other, &n.Joins[i])
	}
	if !n.Last {
		return
	}
	for k := range other.members {
		if !other.coming[k] {
			p.gone(n.Node, other, k)
		}
	}
	other.coming, other.number = nil, n.Number
}

// sayAll says everything that this node has. The caller holds mu, so that no change comes in between.
func (p *presence) sayAll() {
	part, size := presenceNote{Full: true, First: true}, 0
	for key, r := range p.rooms {
		for _, m := range r.members {
			if m.node != p.node {
				continue
			}
			part.Joins = append(part.Joins, presentNote{key, m.Member})
			if size += len(key) + len(m.Info) + len(m.User) + 128; size >= presenceNotes {
				p.send(part)
				part, size = presenceNote{Full: true}, 0
			}
		}
	}
	part.Last = true
	p.send(part)
}
