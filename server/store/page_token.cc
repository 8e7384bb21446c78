#include "server/store/page_token.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "common/base/error.h"
#include "server/store/record_codec.h"

namespace dasm {
namespace {

constexpr size_t kNumberBytes = 8;

void AppendNumber(uint64_t number, std::string* bytes) {
  for (size_t i = 0; i < kNumberBytes; ++i) {
    bytes->push_back(static_cast<char>(number >> (8 * i)));
  }
}

uint64_t ReadNumber(std::string_view bytes) {
  uint64_t number = 0;
  for (size_t i = 0; i < kNumberBytes; ++i) {
    number |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  }
  return number;
}

// FNV-1a over filter and key: stable across processes and releases, unlike
// absl::Hash.
uint64_t Fingerprint(const JobFilter& filter, std::string_view key) {
  std::vector<JobState> states = filter.states;
  std::sort(states.begin(), states.end());
  states.erase(std::unique(states.begin(), states.end()), states.end());
  std::string text = filter.project;
  for (JobState state : states) (text += '\0') += Name(state);
  (text += '\1') += key;
  uint64_t hash = 14695981039346656037u;
  for (char c : text) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211u;
  }
  return hash;
}

}  // namespace

std::string EncodePageToken(const JobFilter& filter, const PageKey& last) {
  std::string key;
  AppendNumber(static_cast<uint64_t>(EncodeTime(last.create_time)), &key);
  key += last.id;
  std::string bytes;
  AppendNumber(Fingerprint(filter, key), &bytes);
  return absl::WebSafeBase64Escape(bytes + key);
}

absl::StatusOr<PageKey> DecodePageToken(const JobFilter& filter,
                                        const std::string& token) {
  std::string bytes;
  if (absl::WebSafeBase64Unescape(token, &bytes) &&
      bytes.size() > 2 * kNumberBytes) {
    const std::string_view key = std::string_view(bytes).substr(kNumberBytes);
    if (ReadNumber(bytes) == Fingerprint(filter, key)) {
      return PageKey{DecodeTime(static_cast<int64_t>(ReadNumber(key))),
                     std::string(key.substr(kNumberBytes))};
    }
  }
  return InvalidField("page_token",
                      "not a token of this list and filter; repeat the request "
                      "without page_token to start at the first page");
}

}  // namespace dasm
