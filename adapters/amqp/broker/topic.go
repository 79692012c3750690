package broker

import (
	"strings"

	"portico/adapters/amqp/wire"
)

// topic matches keys against patterns of words separated by dots: "*" is any one
// word, possibly empty, "#" any number of words, also none. A key of no octets has
// no words [0-9-1 3.1.3.3, RMQ].
//
// Patterns lie in a trie by word. A key is read once, word by word, with the set
// of nodes that the words so far lead to. A "#" node, once reached, stays reached
// whatever follows, so it is kept apart and entered once. A node is therefore in
// the set at most once per word and matching costs at most words × nodes reached,
// however many "#" a pattern has; going back over the key for each of them, the
// usual recursion, would be exponential in their number.
type topic struct {
	root *topicNode
}

// topicNode is immutable once published.
type topicNode struct {
	words pmap[*topicNode]
	star  *topicNode   // "*"
	hash  *topicNode   // "#"
	ends  destinations // of patterns that end here
}

func (m topic) add(k bindingKey, _ wire.Table) matcher {
	root := m.root.changed(k.key, k.key == "", func(d destinations) destinations { return d.with(k.destination) })
	return topic{root}
}

func (m topic) remove(k bindingKey) matcher {
	root := m.root.changed(k.key, k.key == "", func(d destinations) destinations { return d.without(k.destination) })
	return topic{root}
}

// nextWord cuts the first word off key; last says that nothing follows.
func nextWord(key string) (word, rest string, last bool) {
	word, rest, more := strings.Cut(key, ".")
	return word, rest, !more
}

// changed returns n with change applied to the end of pattern, which is n itself
// if end is set. n may be nil; nodes that hold nothing are left out.
func (n *topicNode) changed(pattern string, end bool, change func(destinations) destinations) *topicNode {
	c := topicNode{}
	if n != nil {
		c = *n
	}
	if end {
		c.ends = change(c.ends)
		return &c
	}
	word, rest, last := nextWord(pattern)
	child := c.child(word).changed(rest, last, change)
	if child.empty() {
		child = nil
	}
	c.setChild(word, child)
	return &c
}

func (n *topicNode) empty() bool {
	return n.star == nil && n.hash == nil && n.words.len() == 0 && n.ends.empty()
}

func (n *topicNode) child(word string) *topicNode {
	switch word {
	case "*":
		return n.star
	case "#":
		return n.hash
	}
	c, _ := n.words.get(word)
	return c
}

func (n *topicNode) setChild(word string, c *topicNode) {
	switch {
	case word == "*":
		n.star = c
	case word == "#":
		n.hash = c
	case c == nil:
		n.words = n.words.without(word)
	default:
		n.words = n.words.set(word, c)
	}
}

// topicWalk is the set of nodes reached so far.
type topicWalk struct {
	now, next []*topicNode    // other than "#" nodes
	hashes    bag[*topicNode] // "#" nodes
}

// enter adds n to the set of the next word, with the "#" nodes that match no word.
func (w *topicWalk) enter(n *topicNode) {
	w.next = append(w.next, n)
	w.absorb(n)
}

func (w *topicWalk) absorb(n *topicNode) {
	for h := n.hash; h != nil && w.hashes.add(h); h = h.hash {
	}
}

// step enters what word, of that hash, leads to from n.
func (w *topicWalk) step(n *topicNode, hash uint64, word string) {
	if c, ok := n.words.lookup(hash, word); ok {
		w.enter(c)
	}
	if n.star != nil {
		w.enter(n.star)
	}
}

func (w *topicWalk) reset() {
	w.now, w.next = trimmed(w.now), trimmed(w.next)
	w.hashes.reset()
}

func (m topic) match(r *route, keys []string) {
	for _, key := range keys {
		m.matchKey(r, key)
	}
}

func (m topic) matchKey(r *route, key string) {
	w := &r.topic
	w.enter(m.root)
	for last := key == ""; !last; {
		var word string
		word, key, last = nextWord(key)
		w.now, w.next = w.next, w.now[:0]
		hashes, sum := w.hashes.list, hashOf(word) // "#" nodes reached before this word
		for _, n := range w.now {
			w.step(n, sum, word)
		}
		for _, n := range hashes {
			w.step(n, sum, word)
		}
	}
	for _, n := range w.next {
		r.reach(n.ends)
	}
	for _, n := range w.hashes.list {
		r.reach(n.ends)
	}
	w.reset()
}
