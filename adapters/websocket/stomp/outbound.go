package stomp

import "portico/core"

// itemCost is what a waiting frame is counted at, beside its payload and headers, in bytes.
const itemCost = 128

// item is a frame that waits to be written: a frame as it is, a delivery, or an answer to a temporary queue. What comes from the bus is encoded at the last moment.
type item struct {
	frame *Frame

	sub         *subscription // of record
	record      []byte
	tag         uint64
	redelivered bool

	temp    *temp // of message
	message *core.Message
}

// Size implements outbound.Item.
func (i item) Size() int {
	n := itemCost + len(i.record)
	if i.message != nil {
		n += len(i.message.Data)
		for name, values := range i.message.Header {
			for _, v := range values {
				n += len(name) + len(v)
			}
		}
	}
	if i.frame != nil {
		n += len(i.frame.Body)
	}
	return n
}
