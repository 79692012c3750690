package httpapi_test

import (
	"strings"
	"testing"

	httpapi "portico/adapters/http"
	"portico/core"
)

// TestBatchHeaders: what headers there may be is known before memory is taken for them.
func TestBatchHeaders(t *testing.T) {
	d := open(t, httpapi.Config{})
	for name, headers := range map[string]string{
		"many values":  `{"a":["",` + strings.Repeat(`"",`, 70<<10) + `""]}`,
		"many numbers": `{"a":[` + strings.Repeat(`1,`, 70<<10) + `1]}`,
		"large":        `{"a":"` + strings.Repeat("x", 401<<10) + `"}`,
		"a list":       `["a"]`,
		"a number":     `7`,
	} {
		t.Run(name, func(t *testing.T) {
			p := refused(t, d.do("POST", "/v1/publish", `[{"subject":"a"},{"subject":"a","headers":`+headers+`}]`), 400, core.CodeInvalid)
			if len(p.Errors) != 1 || p.Errors[0].Field != "body[1].headers" {
				t.Errorf("blames %+v", p.Errors)
			}
		})
	}
	for name, c := range map[string]struct {
		headers string
		status  int
	}{
		"nothing":      {`null`, 202},
		"commas":       {`{"a":"` + strings.Repeat(`,\"`, 15<<10) + `"}`, 202},
		"many":         {`{"a":[` + strings.Repeat(`"",`, 12<<10) + `""]}`, 202},
		"above core's": {`{"a":"` + strings.Repeat(`x`, 65<<10) + `"}`, 413},
		"not text":     {`{"a":[1]}`, 400},
	} {
		t.Run(name, func(t *testing.T) {
			got := want[struct{ Results []batchResult }](t, d.do("POST", "/v1/publish", `{"subject":"a","headers":`+c.headers+`}`), 200).Results
			if len(got) != 1 || got[0].Status != c.status {
				t.Errorf("results %+v, want %d", got, c.status)
			}
		})
	}
}
