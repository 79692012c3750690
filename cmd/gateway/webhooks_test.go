package main

import (
	"slices"
	"testing"
)

// TestWebhookNetworks: networks are CIDR lists, in the file as a list and elsewhere between commas.
func TestWebhookNetworks(t *testing.T) {
	all := options()
	i := slices.IndexFunc(all, func(o option) bool { return o.key == "webhooks.allow_networks" })
	if i < 0 {
		t.Fatal("there is no such key")
	}
	for name, c := range map[string]struct {
		value any
		want  []string // nil: refused
	}{
		"text": {"127.0.0.0/8, fd00::/8", []string{"127.0.0.0/8", "fd00::/8"}}, "list": {[]any{"10.1.2.3/16"}, []string{"10.1.0.0/16"}},
		"address": {"10.1.2.3", nil}, "name": {[]any{"localhost"}, nil}, "number": {7, nil}, "mask": {"10.0.0.0/33", nil},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := all[i].parse(c.value)
			if err != nil || c.want == nil {
				if (err == nil) == (c.want == nil) {
					t.Errorf("%v gives %v, %v", c.value, v, err)
				}
				return
			}
			var got []string
			for _, p := range (WebhooksConfig{AllowNetworks: v.([]string)}).networks() {
				got = append(got, p.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("networks are %v, want %v", got, c.want)
			}
		})
	}
}
