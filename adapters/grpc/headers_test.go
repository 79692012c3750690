package grpcapi_test

import (
	"math"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func typed(v *porticov1.HeaderValue) *porticov1.HeaderValues {
	return &porticov1.HeaderValues{Typed: v}
}

func TestTypedHeadersStayWhatTheyAre(t *testing.T) {
	h := start(t)
	stream := h.subscribe("", "s")
	for name, test := range map[string]struct {
		value  *porticov1.HeaderValue
		values string
		typed  bool
	}{
		"text":      {&porticov1.HeaderValue{Kind: &porticov1.HeaderValue_Text{Text: "1"}}, "1", false},
		"bytes":     {&porticov1.HeaderValue{Kind: &porticov1.HeaderValue_Binary{Binary: []byte{0, 0xff, '\n'}}}, "AP8K", true},
		"integer":   {&porticov1.HeaderValue{Kind: &porticov1.HeaderValue_Integer{Integer: math.MinInt64}}, "-9223372036854775808", true},
		"number":    {&porticov1.HeaderValue{Kind: &porticov1.HeaderValue_Number{Number: 0.1}}, "0.1", true},
		"truth":     {&porticov1.HeaderValue{Kind: &porticov1.HeaderValue_Truth{Truth: true}}, "true", true},
		"time":      {&porticov1.HeaderValue{Kind: &porticov1.HeaderValue_Time{Time: timestamppb.New(time.Unix(1, 500).UTC())}}, "1970-01-01T00:00:01.0000005Z", true},
		"no bytes":  {&porticov1.HeaderValue{Kind: &porticov1.HeaderValue_Binary{}}, "", true},
		"the truth": {&porticov1.HeaderValue{Kind: &porticov1.HeaderValue_Truth{}}, "false", true},
	} {
		t.Run(name, func(t *testing.T) {
			m := &porticov1.Message{Subject: "s", Headers: map[string]*porticov1.HeaderValues{"K": typed(test.value)}}
			for range 2 { // as it was made, and passed on as it came
				if _, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: m}); err != nil {
					t.Fatal(err)
				}
				resp, err := stream.Recv()
				if err != nil {
					t.Fatal(err)
				}
				m = resp.GetMessage()
				got := m.GetHeaders()["K"]
				if len(got.GetValues()) != 1 || got.GetValues()[0] != test.values || test.typed != (got.GetTyped() != nil) || test.typed && !proto.Equal(got.GetTyped(), test.value) {
					t.Errorf("got %v, want %v as %q", got, test.value, test.values)
				}
			}
		})
	}
}

func TestValuesThatNoHeaderCanHave(t *testing.T) {
	h := start(t)
	for name, value := range map[string]*porticov1.HeaderValue{
		"none":        {},
		"no number":   {Kind: &porticov1.HeaderValue_Number{Number: math.NaN()}},
		"infinity":    {Kind: &porticov1.HeaderValue_Number{Number: math.Inf(1)}},
		"no time":     {Kind: &porticov1.HeaderValue_Time{Time: &timestamppb.Timestamp{Nanos: -1}}},
		"before 1970": {Kind: &porticov1.HeaderValue_Time{Time: &timestamppb.Timestamp{Seconds: -1}}},
	} {
		t.Run(name, func(t *testing.T) {
			m := &porticov1.Message{Subject: "s", Headers: map[string]*porticov1.HeaderValues{"K": typed(value)}}
			_, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: m})
			want(t, err, codes.InvalidArgument, "invalid-argument")
			wantField(t, err, `message.headers["K"].typed`)
		})
	}
}
