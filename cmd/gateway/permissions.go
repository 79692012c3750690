package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"portico/core/policy"
)

// parsePermissions reads a user's permissions from YAML's values. at names their place.
func parsePermissions(at string, v any) (*policy.Spec, error) {
	fields, ok := v.(map[string]any)
	if !ok {
		return nil, &badUser{at, shapeOf(v), "a section such as publish: {allow: [orders.>], deny: [orders.secret]}"}
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return nil, &badUser{at, "what JSON cannot say", "sections, lists and text"}
	}
	in := json.NewDecoder(bytes.NewReader(raw))
	in.DisallowUnknownFields()
	spec := &policy.Spec{}
	if err := in.Decode(spec); err != nil {
		return nil, fmt.Errorf("%s: %s", at, jsonFault(err))
	}
	if _, err := policy.New("", "", spec); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return spec, nil
}

// jsonFault is what is wrong with values, without the words of the JSON that they were turned into.
func jsonFault(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("%s: found %s, expected %s", wrong.Field, wrong.Value, strings.NewReplacer("[]string", "a list of text", "policy.", "").Replace(wrong.Type.String()))
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}
