package grpcapi

import (
	"context"
	"encoding/base64"
	"time"

	"portico/core"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	maxTime      = 10 * 365 * 24 * time.Hour // of whatever is kept or waits
	maxReplicas  = 5
	maxKeptNames = 1000 // subjects of a stream or a consumer
)

// checks finds the first field of a description that is not as it has to be.
type checks struct {
	prefix string // of the fields' names, such as "stream."
	err    error
}

func (k *checks) fail(field, format string, args ...any) {
	if k.err == nil {
		k.err = badField(k.prefix+field, format, args...)
	}
}

// number is n, which may be most.
func (k *checks) number(field string, n uint64, most int64) int64 {
	if n > uint64(most) {
		k.fail(field, "%d: at most %d", n, most)
		return 0
	}
	return int64(n)
}

// duration is d, which may be nil (0) or from 1 ms to most.
func (k *checks) duration(field string, d *durationpb.Duration, least, most time.Duration) time.Duration {
	if d == nil {
		return 0
	}
	t := d.AsDuration()
	if d.CheckValid() != nil || t < least || t > most {
		k.fail(field, "want %v to %v", least, most)
		return 0
	}
	return t
}

// time is t, the zero time if it is nil.
func (k *checks) time(field string, t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	if t.CheckValid() != nil || t.GetSeconds() < 0 {
		k.fail(field, "want a time from 1970 on")
		return time.Time{}
	}
	return t.AsTime()
}

// count checks how many there are.
func (k *checks) count(field string, n, most int) {
	if n > most {
		k.fail(field, "%d of them: at most %d", n, most)
	}
}

// vocabulary is what core calls the values of an enum. The first is what UNSPECIFIED means.
type vocabulary[E ~int32] []struct {
	value E
	word  string
}

// wordOf is core's word for a value.
func wordOf[E interface {
	~int32
	protoreflect.Enum
}](k *checks, field string, v vocabulary[E], value E) string {
	if value == 0 {
		return v[0].word
	}
	for _, pair := range v {
		if pair.value == value {
			return pair.word
		}
	}
	k.fail(field, "there is no %s %d", value.Descriptor().Name(), int32(value))
	return ""
}

// valueOf is the value for core's word.
func (v vocabulary[E]) valueOf(word string) E {
	for _, pair := range v {
		if pair.word == word {
			return pair.value
		}
	}
	return v[0].value
}

// timestamp is t, nil for the zero time.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// duration is d, nil for 0.
func duration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

const maxPage = 1000

// paged is a request for a page.
type paged interface {
	GetPageSize() uint32
	GetPageToken() string
}

// pageOf reads what page is asked for: those behind after, at most size.
func pageOf(req paged) (after string, size int, err error) {
	b, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err != nil {
		return "", 0, badField("page_token", "it is not one of ours")
	}
	if size = int(min(req.GetPageSize(), maxPage)); size == 0 {
		size = maxPage
	}
	return string(b), size, nil
}

func pageToken(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

// page lists what is on a page, and makes the token of the next one if there is any.
func page[T any](ctx context.Context, req paged, name func(T) string, list func(ctx context.Context, after string, limit int) ([]T, error)) (items []T, next string, err error) {
	after, size, err := pageOf(req)
	if err != nil {
		return nil, "", err
	}
	if items, err = list(ctx, after, size); err != nil || len(items) < size {
		return items, "", err
	}
	last := name(items[len(items)-1])
	more, err := list(ctx, last, 1)
	if err != nil || len(more) == 0 {
		return items, "", err
	}
	return items, pageToken(last), nil
}

// positive is n, which is never below 0, without its sign.
func positive[N int | int32 | int64](n N) uint64 { return uint64(max(n, 0)) }

// refused is err with the field that it is about.
func refused[T any](resp *T, err error, field string) (*T, error) {
	if err != nil {
		return nil, inField(err, field)
	}
	return resp, nil
}

// absent says that a part of a request is missing.
func absent(field string) error {
	return &refusal{core.Errorf(core.CodeInvalid, "%s: it is missing", field), field}
}
