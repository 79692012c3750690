// Package identity knows who may come in, and what shows it: users of the configuration file and those managed at run time, passwords as several kinds of hashes, bearer tokens of its own,
// JSON web tokens of issuers (OpenID Connect), public keys and certificates that a door has verified.
//
//	Credentials ──Login──> *Live ──Identity──> name, tenant, roles, permissions: as they are now
//	                         │
//	                         ├── Ended    the credential is good no longer: connections that came in by it have to end
//	                         └── Changed  the permissions are others now
//
// It knows neither the bus nor protocols, and keeps nothing by itself: what has to outlast the process is given to it (Put, Forget) by who keeps it.
package identity
