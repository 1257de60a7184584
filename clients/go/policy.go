package receipt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const seconds = "2006-01-02T15:04:05Z"

// Policy is the newest of a chain that follows from the reader's own root keys. It has what a receipt
// needs; the other rules are for gateways and engines to check.
type Policy struct {
	Version int64
	Expires time.Time
	Digest  string

	grace     time.Duration
	roots     map[string]any
	threshold int64
	logs      map[string]answerLog
	digests   map[string]bool
}

// OpenPolicyChain follows signed policies, oldest first, from root keys (PEM) of which threshold must
// have signed the first:
//
//  1. The first is signed by the reader's own root keys, and by its own root.
//  2. Each further one is signed by its predecessor's root and by its own.
//  3. Versions grow by one.
//  4. The newest has not ended, its grace included.
//
// Keep the version of the policy that you saw last, and refuse an older one. The error is a *Refusal.
func OpenPolicyChain(envelopes [][]byte, rootKeys []string, threshold int, now time.Time) (*Policy, error) {
	return caught(func() *Policy { return openChain(envelopes, rootKeys, int64(threshold), now) })
}

func openChain(envelopes [][]byte, rootKeys []string, needed int64, now time.Time) (p *Policy) {
	before, digests := map[string]any{}, map[string]bool{}
	for _, written := range rootKeys {
		id, key := readKey(written)
		before[id] = key
	}
	demand(len(envelopes) > 0 && needed > 0, "POLICY_INVALID", "there is no policy, or no threshold")
	for _, data := range envelopes {
		next := follow(data, before, needed)
		demand(p == nil || next.Version > p.Version, "POLICY_ROLLED_BACK", "a policy follows a newer one")
		demand(p == nil || next.Version == p.Version+1, "POLICY_INVALID", "a version is left out")
		p, before, needed = next, next.roots, next.threshold
		digests[next.Digest] = true
	}
	demand(now.Before(p.Expires.Add(p.grace)), "POLICY_EXPIRED", "at "+p.Expires.Format(seconds))
	p.digests = digests
	return p
}

// follow reads a policy that the root before it and its own root have signed.
func follow(data []byte, before map[string]any, threshold int64) *Policy {
	envelope := record(decode(data), "payload", "payloadType", "signatures")
	payload, items := unbase64(envelope["payload"]), list(envelope["signatures"])
	wellFormed(len(items) >= 1 && len(items) <= 32, "an envelope has between 1 and 32 signatures")
	signatures := map[string][]byte{}
	for _, item := range items {
		pair := record(item, "keyid", "sig")
		signatures[text(pair["keyid"], longestText)] = unbase64(pair["sig"])
	}
	wellFormed(len(signatures) == len(items), "an envelope is signed twice with one key")
	kind, signedAs := "application/vnd.sealgate.policy.v1+json", envelope["payloadType"]
	demand(signedAs == kind, "SIGNATURE_INVALID", "it was not signed as a policy")
	message := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
	checkSigners(message, signatures, before, threshold)
	policy := readPolicy(payload)
	checkSigners(message, signatures, policy.roots, policy.threshold)
	return policy
}

// checkSigners: a signature that claims one of the keys must be that key's, and enough keys have one.
func checkSigners(message []byte, signed map[string][]byte, keys map[string]any, least int64) {
	count := int64(0)
	for keyid, signature := range signed {
		if key, known := keys[keyid]; known {
			demand(verify(key, message, signature), "SIGNATURE_INVALID", "by key "+keyid)
			count++
		}
	}
	demand(count >= least, "THRESHOLD_NOT_MET", fmt.Sprintf("%d of %d keys have signed", count, least))
}

func readPolicy(payload []byte) *Policy {
	outer := object(decode(payload))
	wellFormed(outer["type"] == "sealgate/policy/v1", "not a policy of this format")
	p := &Policy{Digest: fmt.Sprintf("sha256:%x", hash(payload)), Version: integer(outer["version"])}
	wellFormed(p.Version >= 1, "a version is at least 1")
	p.Expires = readTime(outer["expires"], seconds)
	demand(readTime(outer["issued"], seconds).Before(p.Expires), "POLICY_INVALID", "it expires before it is issued")
	if grace, has := outer["grace"]; has {
		length := integer(record(grace, "seconds")["seconds"])
		demand(length <= 30*24*3600, "POLICY_INVALID", "its grace is longer than 30 days")
		p.grace = time.Duration(length) * time.Second
	}
	root := record(outer["root"], "keys", "threshold")
	ids, keys := texts(root["keys"]), object(outer["keys"])
	p.threshold, p.roots = integer(root["threshold"]), map[string]any{}
	demand(p.threshold >= 1 && p.threshold <= int64(len(ids)), "POLICY_INVALID", "a threshold nobody can meet")
	for _, id := range ids {
		demand(keys[id] != nil, "POLICY_INVALID", "a key is used that is not listed")
		own, key := readKey(keys[id])
		demand(own == id, "POLICY_INVALID", "a key is listed under an id that is not its own")
		p.roots[id] = key
	}
	p.logs = readLogs(outer)
	return p
}

func readTime(value any, layout string) time.Time {
	written, _ := value.(string)
	found, err := time.Parse(layout, written)
	wellFormed(err == nil && found.Format(layout) == written && found.Year() > 0, "a time is not in its fixed form")
	return found
}

// readKey returns a key's id, the SHA-256 of its DER, and the Ed25519 or P-256 key itself.
func readKey(value any) (string, any) {
	block, _ := pem.Decode([]byte(text(value, longestText)))
	wellFormed(block != nil, "not a public key in PEM")
	again := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: block.Bytes})
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	curve, elliptic := key.(*ecdsa.PublicKey)
	_, edwards := key.(ed25519.PublicKey)
	known := err == nil && (edwards || elliptic && curve.Params().Name == "P-256")
	wellFormed(known && string(again) == value, "neither an Ed25519 nor a P-256 key, in its one spelling")
	return fmt.Sprintf("%x", hash(block.Bytes)), key
}

func verify(key any, message, signature []byte) bool {
	if curve, elliptic := key.(*ecdsa.PublicKey); elliptic {
		return ecdsa.VerifyASN1(curve, hash(message), signature)
	}
	return ed25519.Verify(key.(ed25519.PublicKey), message, signature)
}

// answerLog has the keys of a log, former ones too. The policy may ask for an ML-DSA-44 key beside them.
type answerLog struct {
	keys   []logKey
	beside bool
}

// logKey is an Ed25519 key under the hint of signed notes; it vouches for at most so many entries.
type logKey struct {
	hint string
	key  ed25519.PublicKey
	most int64
}

// readLogs returns the answer logs of a policy, by origin.
func readLogs(policy map[string]any) map[string]answerLog {
	optional := func(name string) map[string]any {
		if section, has := policy[name]; has {
			return object(section)
		}
		return nil
	}
	section, logs := record(policy["logs"], "registry", "answers"), map[string]answerLog{}
	registry, _ := readVerifierKey(section["registry"])
	second, former := optional("ml_dsa"), optional("former_logs")
	for _, written := range texts(section["answers"]) {
		name, key := readVerifierKey(written)
		_, twice := logs[name]
		demand(!twice && name != registry, "POLICY_INVALID", "two logs have one name")
		log := answerLog{keys: []logKey{key}}
		_, log.beside = second[name]
		if keys, has := former[name]; has {
			log.keys = append(log.keys, readFormerKeys(keys, name)...)
		}
		logs[name] = log
	}
	return logs
}

func readFormerKeys(section any, origin string) (found []logKey) {
	for _, item := range list(section) {
		names := []string{"key"}
		size, bound := object(item)["size"]
		if bound {
			names = append(names, "size")
		}
		name, key := readVerifierKey(record(item, names...)["key"])
		demand(name == origin, "POLICY_INVALID", "a former key under another log's name")
		if bound {
			key.most = integer(size)
		}
		found = append(found, key)
	}
	return found
}

// readVerifierKey reads name+hint+key of C2SP signed-note, where key is base64 of 0x01 and the raw key.
func readVerifierKey(value any) (string, logKey) {
	parts := strings.SplitN(text(value, longestText), "+", 3)
	wellFormed(len(parts) == 3, "not a verifier key")
	name, data := parts[0], unbase64(parts[2])
	wellFormed(validName(name) && len(data) == 33 && data[0] == 1, "a log's key is not Ed25519")
	hint := fmt.Sprintf("%x", hash([]byte(name+"\n"), data)[:4])
	wellFormed(hint == parts[1], "a verifier key whose hint is not its own")
	return name, logKey{hint, data[1:], math.MaxInt64}
}

// validName says whether a signature line can have a name: no blanks, no plus.
func validName(name string) bool {
	count := utf8.RuneCountInString(name)
	blank := func(r rune) bool { return r == '+' || unicode.IsSpace(r) || (r >= 0x1c && r <= 0x1f) }
	return count >= 1 && count <= 255 && !strings.ContainsFunc(name, blank)
}
