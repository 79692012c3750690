package security

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// tableUsers are those who come: bob may everything, eve nothing of this, zed is at home in another tenant.
const tableUsers = `
tenants:
- {name: elsewhere}
users:
- {name: admin, password: a}
- {name: bob, password: battery-staple}
- {name: eve, password: evening, publish: [eve.>], subscribe: [eve.>]}
- {name: zed, password: zebra, tenant: elsewhere}
`

// shows are the rows of the table: what a client shows at a door.
func shows(t *testing.T, s *site) []struct {
	name string
	shown
} {
	return []struct {
		name string
		shown
	}{
		{"none", shown{}},
		{"wrong", shown{user: "bob", password: "staple-battery"}},
		{"expired", shown{user: "bob", token: s.expiredToken(t, "bob")}},
		{"revoked", shown{user: "bob", token: s.revokedToken(t, "bob")}},
		{"not permitted", shown{user: "eve", password: "evening"}},
		{"another tenant's", shown{user: "zed", password: "zebra", alone: true}},
		{"right", shown{user: "bob", password: "battery-staple"}},
		{"right, a token", shown{user: "bob", token: s.token(t, "bob", time.Hour)}},
	}
}

// TestTable: what every kind of credential is good for at every door, and how it is refused, is what docs/security.md says. With UPDATE=1 the page is rewritten.
func TestTable(t *testing.T) {
	s := start(t, tableUsers)
	answerAndDeclare(t, s)
	heard := listen(t, s)
	rows := []string{"| door | shown |", "| --- | --- |"}
	for _, action := range actions {
		rows[0] += " " + action.name + " |"
		rows[1] += " --- |"
	}
	all := shows(t, s)
	for _, door := range doors {
		for _, w := range all {
			row := "| " + door.name + " | " + w.name + " |"
			for _, cell := range cells(t, s, door.visit, w.shown, door.name == "MQTT", heard) {
				row += " " + cell + " |"
			}
			rows = append(rows, row)
		}
	}
	compare(t, rows)
}

// cells are how each thing ends, done by a client of its own. Who does not get in is not asked twice: wrong passwords are answered later and later.
func cells(t *testing.T, s *site, visit func(*testing.T, *site, shown) (visitor, error), w shown, silent bool, heard func() bool) (all []string) {
	for i, action := range actions {
		v, err := visit(t, s, w)
		if err != nil {
			return slices.Repeat([]string{outcome(err) + " at login"}, len(actions))
		}
		heard()
		cell := outcome(action.try(v))
		v.close()
		if i == 0 && silent && cell == "yes" && !heard() && !w.alone {
			cell = "PUBACK, dropped"
		}
		if i == 0 && w.alone && heard() {
			t.Errorf("what another tenant publishes is heard")
		}
		all = append(all, cell)
	}
	return all
}

func outcome(err error) string {
	said, coded := errors.AsType[refusal](err)
	switch {
	case err == nil:
		return "yes"
	case errors.Is(err, errNotThere):
		return "–"
	case coded:
		return string(said)
	}
	return fmt.Sprintf("(%v)", err)
}

// listen returns what tells whether something was published since it was asked last.
func listen(t *testing.T, s *site) (heard func() bool) {
	t.Helper()
	nc, err := nats.Connect("nats://"+s.at["NATS"], nats.UserInfo("admin", "a"), nats.Timeout(patience))
	must(t, err)
	t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync(subjectIn)
	must(t, err)
	must(t, nc.FlushTimeout(patience))
	return func() bool {
		must(t, nc.Publish(subjectIn, []byte("mark")))
		for n := 0; ; n++ {
			m, err := sub.NextMsg(patience)
			must(t, err)
			if string(m.Data) == "mark" {
				return n > 0
			}
		}
	}
}

// The table stands between these lines of the page.
const (
	tableBegin = "<!-- table: made by UPDATE=1 go test ./test/security -run Table -->"
	tableEnd   = "<!-- end of table -->"
)

func compare(t *testing.T, rows []string) {
	t.Helper()
	path := filepath.Join("..", "..", "docs", "security.md")
	raw, err := os.ReadFile(path)
	must(t, err)
	before, rest, ok := strings.Cut(string(raw), tableBegin)
	written, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	if os.Getenv("UPDATE") != "" {
		text := before + tableBegin + "\n" + strings.Join(rows, "\n") + "\n" + tableEnd + after
		must(t, os.WriteFile(path, []byte(text), 0o644))
		return
	}
	documented := strings.Split(strings.TrimSpace(written), "\n")
	for _, row := range rows {
		if !slices.Contains(documented, row) {
			t.Errorf("not as documented:\n%s", row)
		}
	}
	for _, row := range documented {
		if !slices.Contains(rows, row) {
			t.Errorf("documented, but not so:\n%s", row)
		}
	}
}

// call makes an HTTP request as the administrator.
func (s *site) call(t *testing.T, method, path, body string, want int) string {
	t.Helper()
	v := &httpVisitor{base: "http://" + s.at["HTTP"], client: http.DefaultClient, shown: shown{user: "admin", password: "a"}}
	status, answer, err := v.call(method, path, body, "Content-Type", "application/json")
	must(t, err)
	if status != want {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// issue makes a bearer token.
func (s *site) issue(t *testing.T, user string, life time.Duration) (id, secret string) {
	t.Helper()
	var made struct{ ID, Token string }
	answer := s.call(t, "POST", "/v1/users/"+user+"/tokens", fmt.Sprintf(`{"label":"table","expires_in":%d}`, int(life.Seconds())), http.StatusCreated)
	must(t, json.Unmarshal([]byte(answer), &made))
	if made.ID == "" || made.Token == "" {
		t.Fatalf("made %s", answer)
	}
	return made.ID, made.Token
}

func (s *site) token(t *testing.T, user string, life time.Duration) string {
	_, secret := s.issue(t, user, life)
	return secret
}

func (s *site) revokedToken(t *testing.T, user string) string {
	id, secret := s.issue(t, user, time.Hour)
	s.call(t, "DELETE", "/v1/users/"+user+"/tokens/"+id, "", http.StatusNoContent)
	return secret
}

// expiredToken is one that was good until a moment ago.
func (s *site) expiredToken(t *testing.T, user string) string {
	secret := s.token(t, user, time.Second)
	await(t, func() error {
		v, err := visitHTTP(t, s, shown{token: secret})
		must(t, err)
		if err := v.publish(); err == nil {
			return errors.New("the token is good still")
		}
		return nil
	})
	return secret
}
