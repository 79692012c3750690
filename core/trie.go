package core

import (
	"slices"
	"strings"
)

// trie finds the values of all patterns that match a subject. A trie is immutable: with and without return a new one that shares everything but the
// nodes on the way, so that readers need no lock. Children are kept in a sorted slice, not a map: copying a node with 10,000 of them takes some
// microseconds, which keeps 10,000 changes in a row well under a second.
type trie[V comparable] struct{ root *node[V] }

type node[V comparable] struct {
	children []edge[V] // literal tokens, sorted
	star     *node[V]  // *
	rest     []V       // values of patterns that end with > here
	values   []V       // values of patterns that end here
}

type edge[V comparable] struct {
	token string
	to    *node[V]
}

// with returns a trie that has v under pattern, once.
func (t trie[V]) with(pattern string, v V) trie[V] {
	return trie[V]{t.root.change(pattern, func(values []V) []V {
		if slices.Contains(values, v) {
			return values
		}
		return append(slices.Clip(values), v)
	})}
}

// without returns a trie that does not have v under pattern.
func (t trie[V]) without(pattern string, v V) trie[V] {
	return trie[V]{t.root.change(pattern, func(values []V) []V {
		if i := slices.Index(values, v); i >= 0 {
			return slices.Delete(slices.Clone(values), i, i+1)
		}
		return values
	})}
}

// change returns a copy of the way from n to pattern's end with the values there replaced, nil where nothing is left.
func (n *node[V]) change(pattern string, replace func([]V) []V) *node[V] {
	c := &node[V]{}
	if n != nil {
		*c = *n
	}
	token, tail, last := cutToken(pattern)
	switch {
	case token == ">":
		c.rest = replace(c.rest)
	case token == "*":
		c.star = c.star.next(tail, last, replace)
	default:
		i, found := slices.BinarySearchFunc(c.children, token, compareEdge)
		var to *node[V]
		if found {
			to = c.children[i].to
		}
		c.children = putEdge(c.children, i, found, edge[V]{token, to.next(tail, last, replace)})
	}
	if len(c.children) == 0 && c.star == nil && len(c.rest) == 0 && len(c.values) == 0 {
		return nil
	}
	return c
}

// next is change for the node behind a token.
func (n *node[V]) next(tail string, last bool, replace func([]V) []V) *node[V] {
	if !last {
		return n.change(tail, replace)
	}
	c := &node[V]{}
	if n != nil {
		*c = *n
	}
	c.values = replace(c.values)
	if len(c.children) == 0 && c.star == nil && len(c.rest) == 0 && len(c.values) == 0 {
		return nil
	}
	return c
}

func compareEdge[V comparable](e edge[V], token string) int { return strings.Compare(e.token, token) }

// putEdge returns children with e at i: in place of the one there if found, removed if e leads nowhere.
func putEdge[V comparable](children []edge[V], i int, found bool, e edge[V]) []edge[V] {
	switch {
	case !found && e.to == nil:
		return children
	case !found:
		grown := make([]edge[V], 0, len(children)+1)
		return append(append(append(grown, children[:i]...), e), children[i:]...)
	case e.to == nil:
		return slices.Delete(slices.Clone(children), i, i+1)
	}
	children = slices.Clone(children)
	children[i] = e
	return children
}

// match appends to dst the values of all patterns that match subject. A value that several patterns have is appended several times.
func (t trie[V]) match(subject string, dst []V) []V { return t.root.match(subject, dst) }

func (n *node[V]) match(subject string, dst []V) []V {
	for n != nil {
		dst = append(dst, n.rest...)
		token, tail, last := cutToken(subject)
		if n.star != nil {
			if last {
				dst = append(dst, n.star.values...)
			} else {
				dst = n.star.match(tail, dst)
			}
		}
		i, found := slices.BinarySearchFunc(n.children, token, compareEdge)
		if !found {
			return dst
		}
		n = n.children[i].to
		if last {
			return append(dst, n.values...)
		}
		subject = tail
	}
	return dst
}
