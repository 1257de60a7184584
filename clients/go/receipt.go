// Package receipt checks receipts of Sealgate offline: that a log which the policy names holds the
// entry, and that the entry is about this very call. It needs the standard library alone.
package receipt

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"
)

const (
	clockSkew   = 5 * time.Minute
	proofHeader = "c2sp.org/tlog-proof@v1\nindex "
	micros      = "2006-01-02T15:04:05.000000Z"
)

var (
	v1Fields = strings.Fields("time principal method model version version_digest pointer_sequence " +
		"policy_digest input output outcome verdict score threshold engine")
	newFields = strings.Fields("alias parameters request_id screening arithmetic actions")
	// Callers who knew these could search for an input that passes.
	kept = []string{"score", "threshold"}
)

// Call is what the caller knows of its own call.
type Call struct {
	// Fields are values that the receipt must have, by field: at least principal, model, alias,
	// input and output. TensorsDigest and ParametersDigest make the digests.
	Fields map[string]string
	// Since and Until are when the call began and ended by the caller's clock; zero is not checked.
	Since, Until time.Time
	// UnsafeV1 takes receipts of older gateways, which say nothing of alias, parameters and id.
	UnsafeV1 bool
}

// Verified is what a receipt proves.
type Verified struct {
	Fields     map[string]string
	Index      int64
	Checkpoint *Checkpoint
	// Unchecked names signatures that the policy asks for and that this package cannot check.
	Unchecked []string
}

// Checkpoint is a signed state of a log: so many entries under one root.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   []byte
	// Note is the signed text: keep the newest, and have the log prove that it only grew.
	Note string
}

// Check checks a receipt against the policy and the call:
//
//  1. Each opened field is what its commitment says.
//  2. The checkpoint is of an answer log of the policy, and that log's key has signed it.
//  3. The log holds the entry that the commitments make up.
//  4. It is of the newest format, and opens all that a caller may see.
//  5. It says what the caller knows, was decided under a policy of the chain, and at that time.
//
// The error is a *Refusal.
func (p *Policy) Check(data []byte, call Call) (*Verified, error) {
	return caught(func() *Verified { return p.check(data, call) })
}

func (p *Policy) check(data []byte, call Call) *Verified {
	outer := record(decode(data), "commitments", "opened", "proof", "type")
	header, names := "sealgate/answer/v1\n", v1Fields
	if outer["type"] != "sealgate/receipt/v1" {
		wellFormed(outer["type"] == "sealgate/receipt/v2", "not a receipt of this format")
		header, names = "sealgate/answer/v2\n", slices.Concat(v1Fields, newFields)
	}
	// 1.
	commitments, fields := openFields(outer, names)
	// 2. and 3.
	leaf := hash(append([][]byte{{0}, []byte(header)}, commitments...)...)
	found := readProof(text(outer["proof"], 1<<16), leaf, p.logs)
	found.Fields = fields
	// 4.
	outdated := len(names) == len(v1Fields)
	demand(!outdated || call.UnsafeV1, "RECEIPT_OUTDATED", "an entry of v1")
	for _, name := range names {
		_, opened := fields[name]
		demand(opened || slices.Contains(kept, name), "RECEIPT_MISMATCH", "it keeps "+name+" from the caller")
	}
	// 5.
	for name, value := range call.Fields {
		opened, known := fields[name]
		lacking := outdated && slices.Contains(newFields, name)
		demand(lacking || known && opened == value, "RECEIPT_MISMATCH", name)
	}
	demand(p.digests[fields["policy_digest"]], "POLICY_INVALID", "a policy outside the chain")
	recorded := readTime(fields["time"], micros)
	early := !call.Since.IsZero() && recorded.Before(call.Since.Add(-clockSkew))
	late := !call.Until.IsZero() && recorded.After(call.Until.Add(clockSkew))
	demand(!early && !late, "RECEIPT_MISMATCH", "time")
	return found
}

// openFields returns the commitments of an entry, and the opened fields that they hold to.
func openFields(outer map[string]any, names []string) (commitments [][]byte, fields map[string]string) {
	for _, item := range list(outer["commitments"]) {
		commitments = append(commitments, unhex(item, 32))
	}
	wellFormed(len(commitments) == len(names), "a receipt has a commitment for each field")
	fields = map[string]string{}
	for name, item := range object(outer["opened"]) {
		place, pair := slices.Index(names, name), record(item, "salt", "value")
		wellFormed(place >= 0, "a receipt opens what is not a field")
		salt, value := unhex(pair["salt"], 16), text(pair["value"], longestText)
		commitment := hash(salt, []byte{byte(len(name))}, []byte(name), []byte(value))
		demand(bytes.Equal(commitment, commitments[place]), "PROOF_INVALID", name+" is not what was recorded")
		fields[name] = value
	}
	return commitments, fields
}

// readProof reads a C2SP tlog-proof without extra lines, and checks that it holds the leaf.
func readProof(proof string, leaf []byte, logs map[string]answerLog) *Verified {
	head, note, cut := strings.Cut(proof, "\n\n")
	tail, headed := strings.CutPrefix(head, proofHeader)
	lines := strings.Split(tail, "\n")
	wellFormed(cut && headed && len(lines) <= 65, "not a tlog-proof")
	index, path := number(lines[0]), [][]byte{}
	for _, line := range lines[1:] {
		path = append(path, unbase64(line))
		wellFormed(len(path[len(path)-1]) == 32, "a hash of a proof has 32 bytes")
	}
	checkpoint, unchecked := openCheckpoint(note, logs)
	reached := rootOf(leaf, index, checkpoint.Size, path)
	demand(bytes.Equal(reached, checkpoint.Root), "PROOF_INVALID", "the proof leads to another root")
	return &Verified{Index: index, Checkpoint: checkpoint, Unchecked: unchecked}
}

// rootOf returns the root that an inclusion proof leads to: RFC 9162, 2.1.3.2.
func rootOf(reached []byte, index, size int64, path [][]byte) []byte {
	demand(index < size, "PROOF_INVALID", "the index is not in the tree")
	node, last := index, size-1
	for _, sibling := range path {
		demand(last > 0, "PROOF_INVALID", "the proof is too long")
		levels := 1
		if node%2 == 1 || node == last {
			reached = hash([]byte{1}, sibling, reached)
			levels += bits.TrailingZeros64(uint64(node))
		} else {
			reached = hash([]byte{1}, reached, sibling)
		}
		node, last = node>>levels, last>>levels
	}
	demand(last == 0, "PROOF_INVALID", "the proof is too short")
	return reached
}

// splitNote returns the text of a signed note, and its signatures by name and hint.
func splitNote(note string) (string, map[string][]byte) {
	cut := strings.LastIndex(note, "\n\n")
	wellFormed(cut >= 0 && strings.HasSuffix(note, "\n"), "not a signed note")
	signed, lines := note[:cut+1], strings.Split(note[cut+2:], "\n")
	wellFormed(len(lines) >= 2 && len(lines) <= 101, "a note has between 1 and 100 signatures")
	found := map[string][]byte{}
	for _, line := range lines[:len(lines)-1] {
		tail, marked := strings.CutPrefix(line, "\u2014 ")
		name, encoded, _ := strings.Cut(tail, " ")
		data := unbase64(encoded)
		wellFormed(marked && validName(name) && len(data) >= 5, "a signature line is of another form")
		place := fmt.Sprintf("%s %x", name, data[:4])
		wellFormed(found[place] == nil, "a note is signed twice with one key")
		found[place] = data[4:]
	}
	return signed, found
}

// openCheckpoint returns the checkpoint of a note that the log's own key has signed, and what of the
// signatures that the policy asks for was not checked.
func openCheckpoint(note string, logs map[string]answerLog) (*Checkpoint, []string) {
	origin, _, _ := strings.Cut(note, "\n")
	log, known := logs[origin]
	demand(known, "LOG_UNKNOWN", "the policy names no such answer log")
	signed, lines := splitNote(note)
	parts, holds := strings.Split(signed, "\n"), false
	for _, key := range log.keys {
		by := ed25519.Verify(key.key, []byte(signed), lines[origin+" "+key.hint])
		holds = holds || by && number(parts[1]) <= key.most
	}
	demand(holds, "SIGNATURE_INVALID", "the log has not signed the checkpoint")
	wellFormed(len(parts) == 4, "a checkpoint has three lines")
	found := &Checkpoint{origin, number(parts[1]), unbase64(parts[2]), note}
	wellFormed(len(found.Root) == 32, "a root hash has 32 bytes")
	if log.beside {
		return found, []string{"the ML-DSA-44 signature of " + origin}
	}
	return found, nil
}
