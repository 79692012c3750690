package queue

import "fmt"

// gathering puts the parts of a large record together, which are entries one behind the other. Those of one that was never finished are dropped.
type gathering struct {
	item
	first uint64 // entry of part 0
	next  uint64 // index of the next part
	total uint64
}

// records returns the records of an entry and the first entry that they are in; none for a part that is not the last.
func (g *gathering) records(kind byte, body []byte, seq uint64) (records []item, first uint64, err error) {
	switch kind {
	case kindRecords:
		records, err = decodeRecords(body)
		return records, seq, err
	case kindPart:
		p, err := decodePart(body)
		if err != nil {
			return nil, 0, err
		}
		records = g.part(p, seq)
		return records, g.first, nil
	default:
		return nil, 0, fmt.Errorf("%w: kind %d", ErrCorrupt, kind)
	}
}

func (g *gathering) part(p part, seq uint64) []item {
	if p.index == 0 {
		*g = gathering{item: item{[]byte{}, p.attributes}, first: seq, total: p.total}
	}
	if p.index != g.next || p.total != g.total || seq != g.first+p.index {
		*g = gathering{}
		return nil
	}
	g.data = append(g.data, p.data...)
	if g.next++; g.next < g.total {
		return nil
	}
	record := g.item
	g.item, g.next, g.total = item{}, 0, 0
	return []item{record}
}
