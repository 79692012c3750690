package identity

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// TestRabbitMQsHashes verifies what a RabbitMQ 3.10.8 has exported with `rabbitmqctl export_definitions`, its users made by `rabbitmqctl add_user` under each password_hashing_module.
func TestRabbitMQsHashes(t *testing.T) {
	raw, err := os.ReadFile("testdata/rabbitmq-definitions.json")
	must(t, err)
	var exported struct {
		Version string `json:"rabbitmq_version"`
		Users   []struct {
			Name      string `json:"name"`
			Hash      string `json:"password_hash"`
			Algorithm string `json:"hashing_algorithm"`
		}
	}
	must(t, json.Unmarshal(raw, &exported))
	passwords := map[string]string{
		"guest": "guest", "sha256": "correct horse battery staple", "sha512": "correct horse battery staple",
		"sha256 utf-8": "пароль: ключ 🔑", "sha512 utf-8": "пароль: ключ 🔑",
	}
	verified := 0
	for _, u := range exported.Users {
		password, known := passwords[u.Name]
		if !known {
			if err := CheckHash(u.Hash, u.Algorithm); err == nil {
				t.Errorf("%s (%s) is taken", u.Name, u.Algorithm)
			}
			continue
		}
		for _, algorithm := range []string{u.Algorithm, ""} {
			d := directory(t, Config{Users: []User{{Name: u.Name, PasswordHash: u.Hash, Algorithm: algorithm}}})
			mustLogin(t, d, Credentials{User: u.Name, Password: password})
			for _, wrong := range []string{"", password + " ", password[1:], u.Hash} {
				refused(t, d, Credentials{User: u.Name, Password: wrong}, ErrRefused)
			}
		}
		verified++
	}
	if verified != len(passwords) {
		t.Errorf("%d of %d verified", verified, len(passwords))
	}
}

func TestHashes(t *testing.T) {
	made, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	must(t, err)
	// Made by the reference implementation (argon2-cffi 25): time 2, memory 64 KiB, 2 threads.
	const foreign = "$argon2id$v=19$m=64,t=2,p=2$c29tZXNhbHQxMjM0$O0H1T0RZeK/bm2YQpwR2rZ/3yIgXMB8FAqsCO00eUio"
	for name, text := range map[string]string{
		"bcrypt":   string(made),
		"our own":  HashPassword("secret"),
		"argon2id": foreign,
	} {
		h, err := parseHash(text, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !h.verify("secret") || h.verify("Secret") || h.verify("") || !h.slow() {
			t.Errorf("%s: right %v, wrong %v, none %v, slow %v", name, h.verify("secret"), h.verify("Secret"), h.verify(""), h.slow())
		}
	}
	if one, other := HashPassword("secret"), HashPassword("secret"); one == other {
		t.Error("two hashes of a password have the same salt")
	}
}

func TestHashesThatAreRefused(t *testing.T) {
	const salt, key = "c29tZXNhbHQxMjM0", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for name, c := range map[string]struct{ text, algorithm string }{
		"bcrypt that takes hours":   {"$2a$31$" + strings.Repeat("a", 53), ""},
		"bcrypt cut off":            {"$2a$10$abc", ""},
		"argon2i":                   {"$argon2i$v=19$m=64,t=2,p=1$" + salt + "$" + key, ""},
		"argon2id of another time":  {"$argon2id$v=16$m=64,t=2,p=1$" + salt + "$" + key, ""},
		"argon2id of much memory":   {"$argon2id$v=19$m=4194304,t=2,p=1$" + salt + "$" + key, ""},
		"argon2id of much time":     {"$argon2id$v=19$m=64,t=2000,p=1$" + salt + "$" + key, ""},
		"argon2id of no time":       {"$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + key, ""},
		"argon2id of no threads":    {"$argon2id$v=19$m=64,t=1,p=0$" + salt + "$" + key, ""},
		"argon2id, negative":        {"$argon2id$v=19$m=-64,t=1,p=1$" + salt + "$" + key, ""},
		"argon2id, short salt":      {"$argon2id$v=19$m=64,t=1,p=1$YQ$" + key, ""},
		"argon2id, short hash":      {"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$YQ", ""},
		"argon2id, parts missing":   {"$argon2id$v=19$m=64,t=1,p=1$" + salt, ""},
		"RabbitMQ's, wrong length":  {"AAAA", ""},
		"RabbitMQ's, not this one":  {"X3t83HwtYJshbFkIErtCrPmd4vexemxvM437spMQlmD+mrJb", RabbitSHA512},
		"RabbitMQ's, unknown":       {"X3t83HwtYJshbFkIErtCrPmd4vexemxvM437spMQlmD+mrJb", "rabbit_password_hashing_rot13"},
		"bcrypt said to be another": {"$2a$04$" + strings.Repeat("a", 53), RabbitSHA256},
		"long":                      {strings.Repeat("A", maxHashText+4), ""},
		"nothing":                   {"", ""},
	} {
		if err := CheckHash(c.text, c.algorithm); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
