package jslog

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"portico/core/queue"
)

func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		data   string
		header nats.Header
		seq    uint64
		want   error
	}{
		"kept":               {data: `{"stream":"Q_A","seq":17}`, seq: 17},
		"kept, in a domain":  {data: `{"stream":"Q_A","domain":"hub","seq":18446744073709551615}`, seq: 1<<64 - 1},
		"number too large":   {data: `{"stream":"Q_A","seq":18446744073709551616}`, want: ErrUnavailable},
		"no number":          {data: `{"stream":"Q_A","seq":}`, want: ErrUnavailable},
		"zero":               {data: `{"stream":"Q_A","seq":0}`, want: ErrUnavailable},
		"cut short":          {data: `{"stream":"Q_A","seq":1`, want: ErrUnavailable},
		"no JSON":            {data: `+OK`, want: ErrUnavailable},
		"nobody":             {header: nats.Header{"Status": {"503"}}, want: ErrUnavailable},
		"nothing":            {want: ErrUnavailable},
		"other owner":        {data: `{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"Q_A","seq":0}`, want: queue.ErrFenced},
		"other owner, by id": {data: `{"error":{"code":400,"err_code":10070,"description":"wrong last msg ID: x.5"},"stream":"Q_A","seq":0}`, want: queue.ErrFenced},
		"server full":        {data: `{"error":{"code":503,"err_code":10023,"description":"insufficient resources"},"stream":"","seq":0}`, want: ErrNoSpace},
		"disk full":          {data: `{"error":{"code":500,"err_code":10047,"description":"insufficient storage resources available"},"stream":"","seq":0}`, want: ErrNoSpace},
		"stream full":        {data: `{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"","seq":0}`, want: ErrNoSpace},
		"something else":     {data: `{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"},"stream":"","seq":0}`, want: &apiError{}},
	} {
		t.Run(name, func(t *testing.T) {
			seq, err := parseAnswer(&nats.Msg{Data: []byte(test.data), Header: test.header})
			refusal := new(apiError)
			_, any := test.want.(*apiError)
			if seq != test.seq || any && !errors.As(err, &refusal) || !any && !errors.Is(err, test.want) {
				t.Fatalf("got %d, %v", seq, err)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"stream":"Q_A","seq":17}`))
	f.Add([]byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"Q_A","seq":0}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		seq, err := parseAnswer(&nats.Msg{Data: data})
		if (seq == 0) != (err != nil) {
			t.Fatalf("%q: %d, %v", data, seq, err)
		}
		if last, ok := refusedLast(data); ok && err == nil {
			t.Fatalf("%q is both kept at %d and refused at %d", data, seq, last)
		}
	})
}
