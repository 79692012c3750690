package webhook

import (
	"fmt"

	"portico/core"
)

// Invalid tells which field of a request is not as it has to be. It is the cause of a core.Error with CodeInvalid.
type Invalid struct{ Field, Expected, Found string }

// Error implements error.
func (i *Invalid) Error() string {
	if i.Found == "" {
		return fmt.Sprintf("%s: %s is expected", i.Field, i.Expected)
	}
	return fmt.Sprintf("%s: %q is found, %s is expected", i.Field, i.Found, i.Expected)
}

const maxFound = 100 // bytes of a wrong value that are told

// invalid says that a field is not what is expected; found is what was there, nil if nothing of it is to be shown.
func invalid(field string, found any, expected string, args ...any) error {
	i := &Invalid{Field: field, Expected: fmt.Sprintf(expected, args...)}
	if found != nil {
		i.Found = clip(fmt.Sprint(found), maxFound)
	}
	return &core.Error{Code: core.CodeInvalid, Detail: i.Error(), Err: i}
}
