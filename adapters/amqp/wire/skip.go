package wire

// Tables that are only passed on or looked into are walked without building
// anything.

// TableValid says whether b is exactly one table that [DecodeTable] accepts,
// without allocating. The error is that of DecodeTable.
func TableValid(b []byte) error {
	d := decoder{b: b}
	d.skipTable(1)
	if err := d.finish(); err != nil {
		return err
	}
	return nil
}

// PeekTable finds key at the top level of a raw table (length long first, as
// from [PeekHeaders]) without allocating. value is the tag octet and the value,
// a slice into table, nil when the key is absent or the table malformed before it.
func PeekTable(table []byte, key string) (value []byte) {
	d := decoder{b: table}
	d.b = d.longBytes("table")
	for len(d.b) > 0 {
		found := string(d.shortBytes()) == key
		from := d.b
		d.skipValue(1)
		if d.code == 0 && found {
			n := len(from) - len(d.b)
			return from[:n:n]
		}
	}
	return nil
}

// DecodeValue decodes one tag and value, all of b, as [PeekTable] returns it.
// Errors are those of [DecodeTable].
func DecodeValue(b []byte) (any, error) {
	d := decoder{b: b}
	v := d.value(1)
	if err := d.finish(); err != nil {
		return nil, err
	}
	return v, nil
}

func (d *decoder) skipTable(depth int) {
	d.skipNested(depth, true)
}

// skipNested steps over a table, or over an array, which has no keys.
func (d *decoder) skipNested(depth int, keys bool) {
	body := d.longBytes("table")
	rest := d.b
	d.b = body
	if depth > maxDepth {
		d.fail(SyntaxError, "table nested too deeply")
	}
	for len(d.b) > 0 {
		if keys {
			d.shortBytes()
		}
		d.skipValue(depth)
	}
	if d.code == 0 {
		d.b = rest
	}
}

func (d *decoder) skipValue(depth int) {
	switch tag := d.octet(); tag {
	case 'V':
	case 't', 'b', 'B':
		d.take(1, "table value")
	case 's', 'u':
		d.take(2, "table value")
	case 'I', 'i', 'f':
		d.take(4, "table value")
	case 'D':
		d.take(5, "table value")
	case 'l', 'L', 'd', 'T':
		d.take(8, "table value")
	case 'S', 'x':
		d.longBytes("table value")
	case 'F', 'A':
		d.skipNested(depth+1, tag == 'F')
	default:
		d.unknownTag(tag)
	}
}
