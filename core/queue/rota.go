package queue

import (
	"cmp"
	"slices"
)

// rota are the consumers that may take a delivery, those of the highest priority first; equals take turns.
type rota []shift

// shift are the consumers of one priority, perhaps none at the moment.
type shift struct {
	priority int
	who      []*Consumer
	turn     int
}

func (r *rota) add(c *Consumer) {
	c.isActive = true
	i := 0
	for i < len(*r) && (*r)[i].priority > c.cfg.Priority {
		i++
	}
	if i == len(*r) || (*r)[i].priority != c.cfg.Priority {
		*r = slices.Insert(*r, i, shift{priority: c.cfg.Priority})
	}
	(*r)[i].who = append((*r)[i].who, c)
}

func (r *rota) remove(c *Consumer) {
	for i := range *r {
		if j := slices.Index((*r)[i].who, c); j >= 0 {
			r.drop(i, j)
			return
		}
	}
}

// drop takes out consumer j of shift i.
func (r *rota) drop(i, j int) {
	s := &(*r)[i]
	s.who[j].isActive = false
	s.who = slices.Delete(s.who, j, j+1)
	if j < s.turn {
		s.turn--
	}
}

// sweep forgets priorities that nobody has at the moment.
func (r *rota) sweep() {
	*r = slices.DeleteFunc(*r, func(s shift) bool { return len(s.who) == 0 })
}

func (s *shift) flush() {
	for _, c := range s.who {
		c.flush()
	}
}

// nextConsumer returns the consumer whose turn it is, with its credit and limit taken; nil if none may take anything.
func (q *Queue) nextConsumer() *Consumer {
	for i := range q.active {
		for s := &q.active[i]; len(s.who) > 0; {
			if s.turn >= len(s.who) {
				s.turn = 0
			}
			c := s.who[s.turn]
			if c.mayTake() {
				s.turn++
				return c
			}
			c.flush()
			q.active.drop(i, s.turn)
		}
	}
	return nil
}

// activate lets c take deliveries, if it is one who may.
func (q *Queue) activate(c *Consumer) {
	if c.gone || c.isActive || c.holder || c.place.parked || q.cfg.SingleActive && q.sole != c {
		return
	}
	q.active.add(c)
}

// succeed finds the single active consumer when there is none: of the highest priority the one that came first.
func (q *Queue) succeed() {
	if !q.cfg.SingleActive || q.sole != nil || len(q.consumers) == 0 {
		return
	}
	q.sole = slices.MaxFunc(q.consumers, func(a, b *Consumer) int { return cmp.Compare(a.cfg.Priority, b.cfg.Priority) })
	q.activate(q.sole)
}
