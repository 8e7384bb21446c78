// libFuzzer: no filter and no page token of a list of experts may crash its
// reading, an expert that a filter describes is in its list, and every position
// survives its token.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/time/time.h"
#include "server/service/expert_filter.h"

namespace {

constexpr char kFilter[] = "dataset=cifar-10";

void ExpectSurvives(const dasm::ExpertPosition& position) {
  const auto again = dasm::DecodeExpertToken(
      kFilter, dasm::EncodeExpertToken(kFilter, position));
  if (!again.ok() || again->group.key != position.group.key ||
      again->group.end_time != position.group.end_time ||
      again->number != position.number) {
    std::abort();
  }
}

// One that is older than any time but the beginning.
void ExpectMatchesItsOwn(const dasm::ExpertFilter& filter) {
  dasm::v1::Expert expert;
  if (filter.dataset) expert.set_dataset(*filter.dataset);
  if (filter.network) expert.set_network(*filter.network);
  if (filter.in_use.value_or(false)) expert.add_jobs("jobs/j1");
  constexpr int64_t kOld = -100'000'000'000;
  expert.mutable_create_time()->set_seconds(kOld);
  expert.mutable_use_time()->set_seconds(kOld);
  const absl::Time old = absl::FromUnixSeconds(kOld);
  if (filter.created_before > old && filter.used_before > old &&
      !filter.Matches(expert)) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto filter = dasm::ParseExpertFilter(bytes);
  if (filter.ok()) ExpectMatchesItsOwn(*filter);
  const auto position = dasm::DecodeExpertToken(kFilter, bytes);
  if (position.ok()) ExpectSurvives(*position);

  int64_t nanoseconds = 0;
  int32_t number = 0;
  if (size < sizeof(nanoseconds) + sizeof(number)) return 0;
  std::memcpy(&nanoseconds, data, sizeof(nanoseconds));
  std::memcpy(&number, data + sizeof(nanoseconds), sizeof(number));
  std::string key = bytes.substr(sizeof(nanoseconds) + sizeof(number));
  // A key is a digest, of one line.
  std::replace(key.begin(), key.end(), '\n', '0');
  ExpectSurvives({{absl::FromUnixNanos(nanoseconds), key}, number});
  return 0;
}
