package security

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNoSecretIsWritten: every kind of credential, good and bad, goes in at every door while everything is logged. Nothing that could let somebody in stands in the log, in the audit log, in
// what was told on start, or anywhere in the data directory; and the audit log tells who came, who was refused and what was changed.
func TestNoSecretIsWritten(t *testing.T) {
	const password, wrong, changed = "quite-a-good-password", "quite-a-wrong-password", "a-password-set-by-REST"
	audit := filepath.Join(t.TempDir(), "audit.log")
	s := start(t, fmt.Sprintf("users:\n- {name: admin, password: a}\n- {name: bob, password: %s}\n- {name: eve, password: evening, publish: [eve.>], subscribe: [eve.>]}\n", password),
		"--log-level", "debug", "--audit-file", audit)
	id, token := s.issue(t, "bob", time.Hour)
	s.call(t, "PUT", "/v1/users/new", fmt.Sprintf(`{"password":%q,"publish":["new.>"]}`, changed), http.StatusCreated)
	jwt := "eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IifQ.c2VjcmV0LXNpZ25hdHVyZQ"
	for _, w := range []shown{
		{user: "bob", password: password}, {user: "bob", password: wrong}, {user: "bob", token: token}, {token: token}, {user: "bob", token: jwt}, {token: jwt},
		{user: "new", password: changed}, {user: "eve", password: "evening"}, {},
	} {
		for _, door := range doors {
			v, err := door.visit(t, s, w)
			if err == nil {
				_ = v.publish() // is refused to most of them
				v.close()
			}
		}
	}
	s.call(t, "DELETE", "/v1/users/bob/tokens/"+id, "", http.StatusNoContent)
	secrets := map[string]string{"the password": password, "the wrong password": wrong, "the password that was set": changed, "the token": token, "the JSON web token": jwt}
	for what, secret := range secrets {
		secrets[what+" as base64"] = base64.StdEncoding.EncodeToString([]byte("bob:" + secret))
	}
	for place, text := range written(t, s, audit) {
		for what, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s stands in %s", what, place)
			}
		}
	}
	recorded(t, audit)
}

// written is everything that the gateway has written, by place.
func written(t *testing.T, s *site, audit string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"the log": []byte(s.Log())}
	for door, try := range s.Try {
		all["what was told of "+door] = []byte(try + s.Doors[door])
	}
	raw, err := os.ReadFile(audit)
	must(t, err)
	all["the audit log"] = raw
	must(t, filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		all[path], err = os.ReadFile(path)
		return err
	}))
	if len(all["the log"]) < 1000 {
		t.Errorf("the log has %d bytes: it cannot have been all", len(all["the log"]))
	}
	return all
}

// recorded looks for what must stand in the audit log.
func recorded(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	must(t, err)
	found := map[string]bool{}
	for line := range bytes.Lines(raw) {
		var e struct{ Msg, Door, User, Action, Target, Remote string }
		must(t, json.Unmarshal(line, &e))
		found[strings.Join([]string{e.Msg, e.Door, e.User, e.Action}, " ")] = true
	}
	for _, want := range []string{
		"login http bob password", "login http bob token", "refused http bob password", "login grpc bob password", "refused grpc bob password", "login websocket bob password",
		"refused websocket bob password", "login amqp bob password", "refused amqp bob password", "login stomp bob password", "refused stomp bob password",
		"login nats bob password", "refused nats bob password", "login mqtt bob password", "refused mqtt bob password", "denied  eve publish",
		"changed  admin user.put", "changed  admin token.new", "changed  admin token.revoke",
	} {
		if !found[want] {
			t.Errorf("the audit log has no %q", want)
		}
	}
	if t.Failed() {
		t.Logf("it has\n%s", raw)
	}
}
