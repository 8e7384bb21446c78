// Layers of a job spec (defaults, preset, what a user gave), laid over each
// other field by field.
#ifndef DASM_COMMON_SPEC_SPEC_MERGE_H_
#define DASM_COMMON_SPEC_SPEC_MERGE_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace dasm {

// Field path -> name of the layer that its value comes from.
using Origins = std::map<std::string, std::string>;

// INVALID_ARGUMENT (field) for a field or enum number that this release does
// not know (a newer client's), an enum that is UNSPECIFIED, a number that is
// not finite. `path` is that of `message`; empty for the whole spec.
absl::Status CheckKnown(const google::protobuf::Message& message,
                        const std::string& path);

// Some fields say the same thing in different ways (one_segment, dasm and
// seqmatch; gradient and trajectory; name, idx, ...; epochs and steps). Removes
// from `below` those that a field of `layer` displaces, at every level.
void Displace(const google::protobuf::Message& layer,
              google::protobuf::Message* below);

// Puts the set fields of `layer` over `target`, where they displace
// alternatives. Lists and maps replace. `path`: as above.
void Overlay(const google::protobuf::Message& layer, const std::string& origin,
             const std::string& path, google::protobuf::Message* target,
             Origins* origins);

// Every set field of `message` that `origins` lacks is "derived".
void MarkDerived(const google::protobuf::Message& message,
                 const std::string& path, Origins* origins);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_SPEC_MERGE_H_
