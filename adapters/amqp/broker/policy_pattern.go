package broker

import (
	"regexp"
	"strings"
)

// namePattern is a compiled pattern. RabbitMQ's expressions are Perl's, and the one
// thing of theirs that policies often use and Go's do not have is a lookahead at the
// very beginning, as in "^(?!amq\.).*" for all but the server's own names. There it is
// no more than a second expression about the same name.
type namePattern struct {
	all  []*regexp.Regexp // match
	none []*regexp.Regexp // do not
}

func (p namePattern) matches(name string) bool {
	for _, re := range p.all {
		if !re.MatchString(name) {
			return false
		}
	}
	for _, re := range p.none {
		if re.MatchString(name) {
			return false
		}
	}
	return true
}

// compilePattern compiles s; the error is regexp's for s as it is.
func compilePattern(s string) (namePattern, error) {
	re, err := regexp.Compile(s)
	if err == nil {
		return namePattern{all: []*regexp.Regexp{re}}, nil
	}
	rest, anchored := strings.CutPrefix(s, "^")
	if !anchored {
		return namePattern{}, err
	}
	var p namePattern
	for {
		group, after, found := cutLookahead(rest)
		if !found {
			break
		}
		re, groupErr := regexp.Compile("^(?:" + group[len("(?!"):])
		if groupErr != nil {
			return namePattern{}, err
		}
		if strings.HasPrefix(group, "(?!") {
			p.none = append(p.none, re)
		} else {
			p.all = append(p.all, re)
		}
		rest = after
	}
	re, restErr := regexp.Compile("^" + rest)
	if restErr != nil || hasAlternatives(rest) {
		return namePattern{}, err
	}
	p.all = append(p.all, re)
	return p, nil
}

// cutLookahead cuts a lookahead group off the front of s.
func cutLookahead(s string) (group, rest string, found bool) {
	if !strings.HasPrefix(s, "(?!") && !strings.HasPrefix(s, "(?=") {
		return "", s, false
	}
	end := -1
	scanPattern(s, func(i, depth int) bool {
		if s[i] == ')' && depth == 0 {
			end = i + 1
		}
		return end < 0
	})
	if end < 0 {
		return "", s, false
	}
	return s[:end], s[end:], true
}

// hasAlternatives says whether s is several expressions outside of any group, so that
// what stands before s would belong to the first only.
func hasAlternatives(s string) (found bool) {
	scanPattern(s, func(i, depth int) bool {
		found = s[i] == '|' && depth == 0
		return !found
	})
	return found
}

// scanPattern calls visit for every octet of s that is neither escaped nor in a class
// of characters, with the number of groups that it is in, until visit returns false.
func scanPattern(s string, visit func(i, depth int) bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
			continue
		case '[':
			i = classEnd(s, i)
			continue
		case '(':
			depth++
		case ')':
			depth--
		}
		if !visit(i, depth) {
			return
		}
	}
}

// classEnd is where the class of characters that begins at i ends. A bracket that is
// its first character does not end it.
func classEnd(s string, i int) int {
	i++
	if i < len(s) && s[i] == '^' {
		i++
	}
	for first := i; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case strings.HasPrefix(s[i:], "[:"):
			if end := strings.Index(s[i:], ":]"); end > 0 {
				i += end + 1
			}
		case s[i] == ']' && i > first:
			return i
		}
	}
	return i
}
