package queue

// seqHeap is a min-heap of record numbers: what came back, to be delivered before anything fresh, lowest first.
type seqHeap []uint64

func (h *seqHeap) push(v uint64) {
	s := append(*h, v)
	for i := len(s) - 1; i > 0; {
		p := (i - 1) / 2
		if s[p] <= s[i] {
			break
		}
		s[p], s[i] = s[i], s[p]
		i = p
	}
	*h = s
}

// slim lets go of an empty heap's memory.
func (h *seqHeap) slim() {
	if len(*h) == 0 {
		*h = nil
	}
}

func (h *seqHeap) pop() uint64 {
	s := *h
	top, n := s[0], len(s)-1
	s[0] = s[n]
	s = s[:n]
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && s[c+1] < s[c] {
			c++
		}
		if s[i] <= s[c] {
			break
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
	*h = s
	return top
}
