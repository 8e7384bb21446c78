#include "server/planner/action_key.h"

#include <cstdint>

#include "common/artifact/digest.h"

namespace dasm {
namespace {

// Changes with the layout below: keys of another layout are never equal.
constexpr char kFormat = 1;

// The length in eight little-endian bytes, then the bytes: no two lists of
// parts make the same text.
void Append(std::string_view part, std::string* text) {
  const uint64_t size = part.size();
  for (int shift = 0; shift < 64; shift += 8) {
    text->push_back(static_cast<char>(size >> shift & 0xff));
  }
  text->append(part);
}

}  // namespace

std::string ActionKey(std::string_view kind, std::string_view parameters_json,
                      const std::map<std::string, std::string>& input_digests,
                      std::string_view numerics_class, std::string_view salt) {
  std::string text(1, kFormat);
  Append(kind, &text);
  Append(parameters_json, &text);
  Append(std::to_string(input_digests.size()), &text);
  for (const auto& [name, digest] : input_digests) {
    Append(name, &text);
    Append(digest, &text);
  }
  Append(numerics_class, &text);
  Append(salt, &text);
  const std::string digest = Sha256(text);
  return digest.substr(digest.find(':') + 1);
}

}  // namespace dasm
