package wire

import "time"

// The property flags of the basic class, as they stand in [Properties.Flags] and
// in the first two octets of raw properties. Bits 1 and 0 belong to no property;
// bit 0 would announce a further word of flags, which basic never needs.
const (
	FlagContentType uint16 = 1 << (15 - iota)
	FlagContentEncoding
	FlagHeaders
	FlagDeliveryMode
	FlagPriority
	FlagCorrelationID
	FlagReplyTo
	FlagExpiration
	FlagMessageID
	FlagTimestamp
	FlagType
	FlagUserID
	FlagAppID
	FlagClusterID

	flagsUndefined = FlagClusterID - 1
)

// Properties is the basic properties, decoded. Flags says which were present on
// the wire, so that absent and empty stay apart; a field that is not zero is
// encoded whether its flag is set or not. Strings hold any octets, at most 255.
type Properties struct {
	Flags           uint16
	ContentType     string
	ContentEncoding string
	Headers         Table
	DeliveryMode    uint8 // 2 is persistent
	Priority        uint8
	CorrelationID   string
	ReplyTo         string
	Expiration      string // milliseconds in decimal, as a string
	MessageID       string
	Timestamp       time.Time // whole seconds, UTC
	Type            string
	UserID          string
	AppID           string
	ClusterID       string
}

// Has says whether the property of flag will be encoded: it was present on the
// wire, or it is not zero.
func (p *Properties) Has(flag uint16) bool { return p.flags()&flag != 0 }

// DecodeProperties decodes raw properties, all of raw, and keeps nothing of it.
// The error is a [*ConnError] 502.
func DecodeProperties(raw []byte) (Properties, error) {
	d := decoder{b: raw}
	p := Properties{Flags: d.propertyFlags()}
	for flag := FlagContentType; flag >= FlagClusterID; flag >>= 1 {
		if p.Flags&flag != 0 {
			p.decode(flag, &d)
		}
	}
	if err := d.finish(); err != nil {
		return Properties{}, malformedProperties(err)
	}
	return p, nil
}

// Append appends p in raw form, flags and list. It never fails; see
// [Method].Append for what becomes of values that have no encoding.
func (p *Properties) Append(dst []byte) []byte {
	flags := p.flags()
	dst = appendShort(dst, flags)
	for flag := FlagContentType; flag >= FlagClusterID; flag >>= 1 {
		if flags&flag != 0 {
			dst = p.append(flag, dst)
		}
	}
	return dst
}

// PropertiesValid says whether DecodeProperties would accept raw, without
// building anything: a broker stores the octets of peers it does not trust and
// hands them to others. The error is that of DecodeProperties.
func PropertiesValid(raw []byte) error {
	d := decoder{b: raw}
	flags := d.propertyFlags()
	for flag := FlagContentType; flag >= FlagClusterID; flag >>= 1 {
		if flags&flag == 0 {
			continue
		}
		if flag == FlagHeaders {
			d.skipTable(1)
		} else {
			d.skipProperty(flag)
		}
	}
	if err := d.finish(); err != nil {
		return malformedProperties(err)
	}
	return nil
}

func malformedProperties(err *ConnError) *ConnError {
	return ConnErrorf(err.Code, "content properties: %s", err.Text)
}

// propertyFlags reads the flags and refuses those that mean nothing: other
// peers would read a list that is not there.
func (d *decoder) propertyFlags() uint16 {
	flags := d.uint16()
	if flags&flagsUndefined != 0 {
		d.fail(SyntaxError, "undefined property flags")
	}
	return flags
}

// text is where the short string of flag lives, nil for other properties.
func (p *Properties) text(flag uint16) *string {
	switch flag {
	case FlagContentType:
		return &p.ContentType
	case FlagContentEncoding:
		return &p.ContentEncoding
	case FlagCorrelationID:
		return &p.CorrelationID
	case FlagReplyTo:
		return &p.ReplyTo
	case FlagExpiration:
		return &p.Expiration
	case FlagMessageID:
		return &p.MessageID
	case FlagType:
		return &p.Type
	case FlagUserID:
		return &p.UserID
	case FlagAppID:
		return &p.AppID
	case FlagClusterID:
		return &p.ClusterID
	}
	return nil
}

// flags is Flags with those of the fields that are not zero.
func (p *Properties) flags() uint16 {
	flags := p.Flags &^ flagsUndefined
	for flag := FlagContentType; flag >= FlagClusterID; flag >>= 1 {
		if s := p.text(flag); s != nil && *s != "" {
			flags |= flag
		}
	}
	if len(p.Headers) > 0 {
		flags |= FlagHeaders
	}
	if p.DeliveryMode != 0 {
		flags |= FlagDeliveryMode
	}
	if p.Priority != 0 {
		flags |= FlagPriority
	}
	if !p.Timestamp.IsZero() {
		flags |= FlagTimestamp
	}
	return flags
}

func (p *Properties) decode(flag uint16, d *decoder) {
	switch flag {
	case FlagHeaders:
		p.Headers = d.table(1)
	case FlagDeliveryMode:
		p.DeliveryMode = d.octet()
	case FlagPriority:
		p.Priority = d.octet()
	case FlagTimestamp:
		p.Timestamp = d.timestamp()
	default:
		*p.text(flag) = d.shortString()
	}
}

func (p *Properties) append(flag uint16, dst []byte) []byte {
	switch flag {
	case FlagHeaders:
		return appendTable(dst, p.Headers)
	case FlagDeliveryMode:
		return append(dst, p.DeliveryMode)
	case FlagPriority:
		return append(dst, p.Priority)
	case FlagTimestamp:
		return appendTimestamp(dst, p.Timestamp)
	default:
		return appendShortString(dst, *p.text(flag))
	}
}
