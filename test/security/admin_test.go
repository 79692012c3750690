package security

import (
	"net/http"
	"testing"
)

// TestAdminAddress: what is administrative is at its own address, if there is one, and nowhere else; permissions are asked there, too.
func TestAdminAddress(t *testing.T) {
	s := start(t, "users:\n- {name: admin, password: a}\n- {name: eve, password: evening, publish: [eve.>]}\n", "--admin-listen", "127.0.0.1:0")
	if s.at["admin"] == "" || s.at["admin"] == s.at["HTTP"] {
		t.Fatalf("the doors are %v", s.Doors)
	}
	admin, eve := shown{user: "admin", password: "a"}, shown{user: "eve", password: "evening"}
	for name, c := range map[string]struct {
		at, path string
		as       shown
		want     int
	}{
		"users, public":          {s.at["HTTP"], "/v1/users", admin, http.StatusNotFound},
		"a user, public":         {s.at["HTTP"], "/v1/users/eve", admin, http.StatusNotFound},
		"metrics, public":        {s.at["HTTP"], "/metrics", admin, http.StatusNotFound},
		"queues, public":         {s.at["HTTP"], "/v1/queues", admin, http.StatusOK},
		"health, public":         {s.at["HTTP"], "/healthz", shown{}, http.StatusOK},
		"users":                  {s.at["admin"], "/v1/users", admin, http.StatusOK},
		"metrics":                {s.at["admin"], "/metrics", admin, http.StatusOK},
		"queues":                 {s.at["admin"], "/v1/queues", admin, http.StatusOK},
		"users, not permitted":   {s.at["admin"], "/v1/users", eve, http.StatusForbidden},
		"users, not logged in":   {s.at["admin"], "/v1/users", shown{}, http.StatusUnauthorized},
		"a path that begins so":  {s.at["HTTP"], "/metricsx", admin, http.StatusNotFound},
		"another way of writing": {s.at["HTTP"], "/v1//users", admin, http.StatusNotFound},
		"percent-encoded":        {s.at["HTTP"], "/v1/%75sers", admin, http.StatusNotFound},
	} {
		v := &httpVisitor{base: "http://" + c.at, client: http.DefaultClient, shown: c.as}
		status, answer, err := v.call("GET", c.path, "")
		must(t, err)
		if status != c.want {
			t.Errorf("%s: %d %.100s, want %d", name, status, answer, c.want)
		}
	}
}
