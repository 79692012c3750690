package queue

import "slices"

// span is a run of log entries, both ends included.
type span struct{ from, to uint64 }

// spans are sorted, and neither overlap nor touch.
type spans []span

// add includes from to to.
func (s *spans) add(from, to uint64) {
	i, _ := slices.BinarySearchFunc(*s, from, func(x span, from uint64) int {
		if x.to+1 < from {
			return -1
		}
		return 1
	})
	j := i
	for ; j < len(*s) && (*s)[j].from <= to+1; j++ {
		from, to = min(from, (*s)[j].from), max(to, (*s)[j].to)
	}
	*s = slices.Replace(*s, i, j, span{from, to})
}

// dropBelow forgets everything below floor.
func (s *spans) dropBelow(floor uint64) {
	n := 0
	for n < len(*s) && (*s)[n].to < floor {
		n++
	}
	if n > 0 {
		*s = slices.Delete(*s, 0, n)
	}
	if len(*s) > 0 {
		(*s)[0].from = max((*s)[0].from, floor)
	}
}

func (s spans) has(seq uint64) bool {
	_, found := slices.BinarySearchFunc(s, seq, func(x span, seq uint64) int {
		switch {
		case x.to < seq:
			return -1
		case x.from > seq:
			return 1
		}
		return 0
	})
	return found
}
