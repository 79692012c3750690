package amqp

import (
	"sort"

	"portico/core/queue"
)

// delivered is one delivery that waits for its settlement.
type delivered struct {
	tag    uint64
	handle queue.Handle
	to     *consumer // nil: settled already
	at     int64     // when it was sent, milliseconds since 1970
}

// unacked is what a channel has delivered and not yet heard of, in order of tags.
type unacked struct {
	list []delivered // from head on, the first of them not settled
	head int
	gone int // settled ones behind head
}

// compactAt is how many settled entries may lie between others before they are taken out.
const compactAt = 64

func (u *unacked) len() int { return len(u.list) - u.head - u.gone }

func (u *unacked) push(d delivered) {
	if u.head > len(u.list)/2 && u.head >= compactAt {
		u.list = append(u.list[:0], u.list[u.head:]...)
		u.head = 0
	}
	u.list = append(u.list, d)
}

// take removes the delivery with that tag, with multiple also all before it, and passes what it removed to each. It tells
// whether there is such a delivery; tag 0 with multiple is all there are [0-9-1 basic.ack].
func (u *unacked) take(tag uint64, multiple bool, each func(delivered)) bool {
	if tag == 0 && multiple {
		u.takeTo(len(u.list), each)
		return true
	}
	i := u.find(tag)
	if i < 0 {
		return false
	}
	if multiple {
		u.takeTo(i+1, each)
		return true
	}
	each(u.list[i])
	u.list[i].to = nil
	u.gone++
	u.trim()
	return true
}

// takeTo removes everything in front of index end.
func (u *unacked) takeTo(end int, each func(delivered)) {
	for ; u.head < end; u.head++ {
		if d := u.list[u.head]; d.to != nil {
			each(d)
			u.list[u.head].to = nil
		} else {
			u.gone--
		}
	}
	u.trim()
}

// find returns the index of the unsettled delivery with that tag, -1 if there is none.
func (u *unacked) find(tag uint64) int {
	live := u.list[u.head:]
	if len(live) == 0 || tag < live[0].tag {
		return -1
	}
	i := int(min(tag-live[0].tag, uint64(len(live)))) // right when every tag since has been an acknowledged one
	if i == len(live) || live[i].tag != tag {
		i = sort.Search(len(live), func(i int) bool { return live[i].tag >= tag })
	}
	if i == len(live) || live[i].tag != tag || live[i].to == nil {
		return -1
	}
	return u.head + i
}

// trim moves head to the first unsettled delivery and takes settled ones out from between others when they are many.
func (u *unacked) trim() {
	for u.head < len(u.list) && u.list[u.head].to == nil {
		u.head++
		u.gone--
	}
	switch {
	case u.head == len(u.list):
		u.list, u.head, u.gone = u.list[:0], 0, 0
		if cap(u.list) > 16*compactAt {
			u.list = nil
		}
	case u.gone >= compactAt && u.gone > len(u.list[u.head:])/2:
		kept := u.list[:0]
		for _, d := range u.list[u.head:] {
			if d.to != nil {
				kept = append(kept, d)
			}
		}
		clear(u.list[len(kept):])
		u.list, u.head, u.gone = kept, 0, 0
	}
}

// restore puts deliveries back that had been taken, in any order.
func (u *unacked) restore(ds []delivered) {
	kept := append([]delivered(nil), ds...)
	u.takeTo(len(u.list), func(d delivered) { kept = append(kept, d) })
	sort.Slice(kept, func(i, j int) bool { return kept[i].tag < kept[j].tag })
	u.list, u.head, u.gone = kept, 0, 0
}
