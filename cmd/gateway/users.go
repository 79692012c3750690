package main

import (
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// usersOption is the list of users. In the environment it is the same list as YAML or JSON text.
func usersOption() option {
	return option{
		key:     "users",
		help:    "who may log in, as YAML or JSON text; other processes can read flags, prefer the file or the environment",
		expects: "a list of users, each with name, password or password_hash, publish, subscribe",
		parse:   func(v any) (any, error) { return parseUsers(v) },
	}
}

// badUser is an error inside the list: it names the entry.
type badUser struct{ at, found, expected string }

func (e *badUser) Error() string {
	return fmt.Sprintf("%s: found %s, expected %s", e.at, e.found, e.expected)
}

// parseUsers reads the list from YAML's values, or from YAML text. Values are never part of an error: they may be passwords.
func parseUsers(v any) ([]User, error) {
	if s, ok := v.(string); ok {
		v = nil
		if err := yaml.Unmarshal([]byte(s), &v); err != nil {
			return nil, &badUser{"users", "text that is no YAML", "a list of users"}
		}
	}
	items, ok := v.([]any)
	if !ok && v != nil {
		return nil, &badUser{"users", shapeOf(v), "a list of users"}
	}
	var users []User
	for i, item := range items {
		u, err := parseUser(fmt.Sprintf("users[%d]", i), item)
		if err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, nil
}

var userFields = []string{"name", "password", "password_hash", "publish", "subscribe"}

func parseUser(at string, v any) (u User, err error) {
	fields, ok := v.(map[string]any)
	if !ok {
		return u, &badUser{at, shapeOf(v), "a section with name and password"}
	}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		v, at, ok, expected := fields[field], at+"."+field, false, "text in quotes"
		switch field {
		case "name":
			u.Name, ok = v.(string)
		case "password":
			ok = secret(&u.Password, v)
		case "password_hash":
			ok = secret(&u.PasswordHash, v)
		case "publish":
			u.Publish, ok = textList(v)
			expected = "a list of subject patterns"
		case "subscribe":
			u.Subscribe, ok = textList(v)
			expected = "a list of subject patterns"
		default:
			return u, fmt.Errorf("%s: unknown key%s", at, suggest(field, userFields))
		}
		if !ok {
			return u, &badUser{at, shapeOf(v), expected}
		}
	}
	return u, nil
}

func secret(to *Secret, v any) bool {
	s, ok := v.(string)
	*to = Secret(s)
	return ok
}

// shapeOf describes a value without showing it.
func shapeOf(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case string:
		return "text"
	case []any:
		return "a list"
	case map[string]any:
		return "a section"
	}
	return "something that is not text"
}
