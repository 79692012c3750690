package queue

// MaxDoubts is how many runs of doubted entries are named.
const MaxDoubts = maxDoubts

// Doubts returns how many there are.
func (q *Queue) Doubts() (n int) {
	_ = q.ask(func() { n = len(q.ids.doubts) })
	return n
}
