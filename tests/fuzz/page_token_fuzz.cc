// libFuzzer: no page token may crash its decoding, one that is accepted is one
// that the service gives, and every key survives its token.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/time/time.h"
#include "server/store/page_token.h"

namespace {

const dasm::JobFilter& Filter() {
  static const auto* filter = new dasm::JobFilter{.project = "default"};
  return *filter;
}

void ExpectSurvives(const dasm::PageKey& key) {
  const auto again =
      dasm::DecodePageToken(Filter(), dasm::EncodePageToken(Filter(), key));
  if (!again.ok() || again->id != key.id ||
      again->create_time != key.create_time) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto key = dasm::DecodePageToken(Filter(), bytes);
  if (key.ok()) ExpectSurvives(*key);
  int32_t seconds = 0;
  if (size <= sizeof(seconds)) return 0;
  std::memcpy(&seconds, data, sizeof(seconds));
  ExpectSurvives(
      {absl::FromUnixSeconds(seconds), bytes.substr(sizeof(seconds))});
  return 0;
}
