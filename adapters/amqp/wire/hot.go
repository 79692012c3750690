package wire

// The methods of every message have a way around the structs: no allocation,
// no interface.

// DecodePublish decodes a basic.publish payload without allocating: exchange
// and key are slices into payload. The caller has looked at the method id
// ([PeekMethod]); another method is an error, as is anything malformed.
func DecodePublish(payload []byte) (exchange, key []byte, mandatory, immediate bool, err error) {
	d := decoder{b: arguments(payload, IDBasicPublish)}
	d.uint16() // ticket
	exchange, key = d.shortBytes(), d.shortBytes()
	flags := d.octet()
	if e := d.finish(); e != nil {
		return nil, nil, false, false, malformed(IDBasicPublish, e)
	}
	return exchange, key, flags&1 != 0, flags&2 != 0, nil
}

// DecodeAck decodes a basic.ack payload without allocating, in the terms of
// [DecodePublish].
func DecodeAck(payload []byte) (tag uint64, multiple bool, err error) {
	tag, flags, err := decodeSettlement(payload, IDBasicAck)
	return tag, flags&1 != 0, err
}

// DecodeNack decodes a basic.nack payload without allocating, in the terms of
// [DecodePublish].
func DecodeNack(payload []byte) (tag uint64, multiple, requeue bool, err error) {
	tag, flags, err := decodeSettlement(payload, IDBasicNack)
	return tag, flags&1 != 0, flags&2 != 0, err
}

// DecodeReject decodes a basic.reject payload without allocating, in the terms
// of [DecodePublish].
func DecodeReject(payload []byte) (tag uint64, requeue bool, err error) {
	tag, flags, err := decodeSettlement(payload, IDBasicReject)
	return tag, flags&1 != 0, err
}

func decodeSettlement(payload []byte, id MethodID) (tag uint64, flags uint8, err error) {
	d := decoder{b: arguments(payload, id)}
	tag, flags = d.uint64(), d.octet()
	if e := d.finish(); e != nil {
		return 0, 0, malformed(id, e)
	}
	return tag, flags, nil
}

// arguments is what follows the ids of payload, nil when they are not id.
func arguments(payload []byte, id MethodID) []byte {
	if got, ok := PeekMethod(payload); !ok || got != id {
		return nil
	}
	return payload[4:]
}

// AppendDeliver appends a whole basic.deliver method frame.
func AppendDeliver(dst []byte, channel uint16, consumerTag string, deliveryTag uint64, redelivered bool, exchange, key []byte) []byte {
	start := len(dst)
	dst = openFrame(dst, FrameMethod, channel)
	dst = appendLong(dst, uint32(IDBasicDeliver))
	dst = appendShortString(dst, consumerTag)
	dst = appendLongLong(dst, deliveryTag)
	dst = append(dst, bit(redelivered))
	dst = appendShortString(dst, exchange)
	dst = appendShortString(dst, key)
	return closeFrame(dst, start)
}

// AppendGetOk appends a whole basic.get-ok method frame; messageCount is what
// remains ready behind this message.
func AppendGetOk(dst []byte, channel uint16, deliveryTag uint64, redelivered bool, exchange, key []byte, messageCount uint32) []byte {
	start := len(dst)
	dst = openFrame(dst, FrameMethod, channel)
	dst = appendLong(dst, uint32(IDBasicGetOk))
	dst = appendLongLong(dst, deliveryTag)
	dst = append(dst, bit(redelivered))
	dst = appendShortString(dst, exchange)
	dst = appendShortString(dst, key)
	dst = appendLong(dst, messageCount)
	return closeFrame(dst, start)
}

// AppendPublish appends a whole basic.publish method frame, for peers that play
// the client.
func AppendPublish(dst []byte, channel uint16, exchange, key []byte, mandatory, immediate bool) []byte {
	start := len(dst)
	dst = openFrame(dst, FrameMethod, channel)
	dst = appendLong(dst, uint32(IDBasicPublish))
	dst = appendShort(dst, 0) // ticket
	dst = appendShortString(dst, exchange)
	dst = appendShortString(dst, key)
	dst = append(dst, bit(mandatory)|bit(immediate)<<1)
	return closeFrame(dst, start)
}

// AppendBasicAck appends a whole basic.ack method frame.
func AppendBasicAck(dst []byte, channel uint16, tag uint64, multiple bool) []byte {
	return appendSettlement(dst, channel, IDBasicAck, tag, bit(multiple))
}

// AppendBasicNack appends a whole basic.nack method frame.
func AppendBasicNack(dst []byte, channel uint16, tag uint64, multiple, requeue bool) []byte {
	return appendSettlement(dst, channel, IDBasicNack, tag, bit(multiple)|bit(requeue)<<1)
}

// AppendBasicReject appends a whole basic.reject method frame, for peers that
// play the client.
func AppendBasicReject(dst []byte, channel uint16, tag uint64, requeue bool) []byte {
	return appendSettlement(dst, channel, IDBasicReject, tag, bit(requeue))
}

// appendSettlement appends a method frame of the fixed 13 octets of arguments
// that ack, nack and reject share.
func appendSettlement(dst []byte, channel uint16, id MethodID, tag uint64, flags byte) []byte {
	dst = AppendFrameStart(dst, FrameMethod, channel, 4+8+1)
	dst = appendLong(dst, uint32(id))
	dst = appendLongLong(dst, tag)
	return append(dst, flags, FrameEnd)
}
