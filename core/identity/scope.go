package identity

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"portico/core/policy"
)

// rabbitScopes reads scopes as RabbitMQ's OAuth 2 plug-in has them, with the prefix that means this gateway:
//
//	configure:VHOST/NAME    write:VHOST/NAME[/KEY]    read:VHOST/NAME[/KEY]    tag:ROLE
//
// NAME is that of queues and exchanges, KEY a routing key; in each part * stands for any run of characters, and what is not a letter may be percent-encoded. Of those for vhost it makes
// regular expressions; nil: there is none. A KEY beside a NAME with * cannot be expressed, and such a scope gives nothing.
func rabbitScopes(scopes []string, prefix, vhost string) (spec *policy.Spec, tags []string) {
	names, keys := map[string][]string{}, map[string]map[string][]string{}
	for _, scope := range scopes {
		rest, ok := strings.CutPrefix(scope, prefix)
		verb, place, found := strings.Cut(rest, ":")
		if !ok || !found {
			continue
		}
		if verb == "tag" {
			tags = append(tags, place)
			continue
		}
		if !slices.Contains([]string{"configure", "write", "read"}, verb) {
			continue
		}
		spec = &policy.Spec{} // whoever has scopes has no more than they say, in whichever vhost
		at, name, key, ok := placeOf(place)
		if !ok || !globbed(at).MatchString(vhost) {
			continue
		}
		if key != "*" && (strings.Contains(name, "*") || verb == "configure") {
			continue
		}
		names[verb] = append(names[verb], globText(name))
		if keys[unescaped(name)] == nil {
			keys[unescaped(name)] = map[string][]string{}
		}
		keys[unescaped(name)][verb] = append(keys[unescaped(name)][verb], globText(key))
	}
	if spec == nil {
		return nil, tags
	}
	spec.AMQP = []policy.VHost{{VHost: vhost, Configure: anyOf(names["configure"]), Write: anyOf(names["write"]), Read: anyOf(names["read"])}}
	spec.Topics = topicsOf(keys, vhost)
	return spec, tags
}

// topicsOf are the routing keys of the exchanges for which not every key is allowed anyway.
func topicsOf(keys map[string]map[string][]string, vhost string) (all []policy.Topic) {
	for name, byVerb := range keys {
		if strings.Contains(name, "*") || open(byVerb["write"]) && open(byVerb["read"]) {
			continue
		}
		all = append(all, policy.Topic{VHost: vhost, Exchange: name, Write: keysOf(byVerb["write"]), Read: keysOf(byVerb["read"])})
	}
	slices.SortFunc(all, func(a, b policy.Topic) int { return strings.Compare(a.Exchange, b.Exchange) })
	return all
}

// open tells whether nothing was said of keys, or that all are allowed.
func open(keys []string) bool { return len(keys) == 0 || slices.Contains(keys, ".*") }

func keysOf(keys []string) string {
	if open(keys) {
		return ".*"
	}
	return anyOf(keys)
}

// placeOf takes VHOST/NAME/KEY apart.
func placeOf(place string) (vhost, name, key string, ok bool) {
	parts := strings.SplitN(place, "/", 3)
	if len(parts) < 2 {
		return "", "", "", false
	}
	key = "*"
	if len(parts) == 3 {
		key = parts[2]
	}
	return parts[0], parts[1], key, true
}

func unescaped(part string) string {
	if plain, err := url.PathUnescape(part); err == nil {
		return plain
	}
	return part
}

// globText is a regular expression, without its anchors, for a part of a scope.
func globText(part string) string {
	pieces := strings.Split(part, "*")
	for i, p := range pieces {
		pieces[i] = regexp.QuoteMeta(unescaped(p))
	}
	return strings.Join(pieces, ".*")
}

func globbed(part string) *regexp.Regexp { return regexp.MustCompile("^" + globText(part) + "$") }

// anyOf is a regular expression that matches what one of the others does, as a whole. Of none it matches nothing.
func anyOf(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return "^(?:" + strings.Join(slices.Compact(slices.Sorted(slices.Values(all))), "|") + ")$"
}
