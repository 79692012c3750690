// Package policy decides what an identity may do: one immutable Policy per identity, one function Decide for every door. It knows neither sockets nor the bus.
//
// A policy has up to three kinds of rules, and every kind that is there must agree: lists of subject patterns and names (allow and deny), and the regular expressions and
// topic permissions of AMQP. A deny wins over every allow. A list of allows that is there refuses what it does not name. No rules at all: everything is allowed.
package policy
