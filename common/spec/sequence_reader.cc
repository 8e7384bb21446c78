#include "common/spec/sequence_reader.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace dasm {
namespace {

constexpr size_t kMaxSegments = 1000;

std::vector<int> ReadSegments(const google::protobuf::RepeatedField<int>& given,
                              const std::vector<int>& usual,
                              int images_per_class, const std::string& field,
                              FieldReader* reader) {
  if (given.empty()) return usual;
  std::vector<int> segments(given.begin(), given.end());
  int64_t sum = 0;
  for (const int size : segments) {
    if (size < 1) reader->Refuse(field, "each segment needs at least 1 image");
    sum += size;
  }
  if (sum != images_per_class) {
    reader->Refuse(
        field, absl::StrCat("[", absl::StrJoin(segments, ", "), "] sums to ",
                            sum, ", but images_per_class is ", images_per_class,
                            ": change one of them, or leave segments out for [",
                            absl::StrJoin(usual, ", "), "]"));
  }
  if (segments.size() > kMaxSegments) {
    reader->Refuse(field,
                   absl::StrCat("more than ", kMaxSegments, " segments"));
  }
  return segments;
}

PoolRule ReadPool(v1::Dasm::Pool pool) {
  switch (pool) {
    case v1::Dasm::POOL_ALL:
      return PoolRule::kAll;
    case v1::Dasm::POOL_LOSS_QUANTILE:
      return PoolRule::kLossQuantile;
    case v1::Dasm::POOL_EL2N:
      return PoolRule::kEl2n;
    case v1::Dasm::POOL_WEIGHTED:
      return PoolRule::kWeighted;
    default:
      return PoolRule::kMisclassified;
  }
}

void ReadDasm(const v1::Dasm& dasm, bool trajectories, SequenceSpec* to,
              FieldReader* reader) {
  const auto path = [](const char* name) {
    return absl::StrCat("sequence.dasm.", name);
  };
  to->pool = ReadPool(dasm.pool());
  to->mix = reader->Number(path("mix"), dasm.mix(), 0, 1);
  to->trim = reader->Number(path("trim"), dasm.trim(), 0, 0.5);
  to->discriminators =
      reader->Within(path("discriminators"), dasm.discriminators(), 1, 32);
  to->discriminator_epochs = reader->Within(
      path("discriminator_epochs"), dasm.discriminator_epochs(), 1, 100'000);
  to->discriminator_steps = reader->Within(
      path("discriminator_steps"), dasm.discriminator_steps(), 1, 100'000'000);
  to->quantile_floor =
      reader->Positive(path("quantile_floor"), dasm.quantile_floor(), 1);
  // EL2N lies in [0, sqrt 2].
  to->el2n_threshold =
      reader->Number(path("el2n_threshold"), dasm.el2n_threshold(), 0, 1.4142);
  to->weight_floor =
      reader->Number(path("weight_floor"), dasm.weight_floor(), 0, 1);
  to->weight_power =
      reader->Number(path("weight_power"), dasm.weight_power(), 0, 10);
  to->reference_steps = reader->Within(path("reference_steps"),
                                       dasm.reference_steps(), 0, 100'000'000);
  to->visible_earlier = dasm.union_();
  if (trajectories) return;
  if (dasm.stages_size() > 0) {
    reader->Refuse(path("stages"),
                   "are of matching.trajectory: leave them out, or match "
                   "trajectories");
  }
  if (dasm.union_()) {
    reader->Refuse(path("union"),
                   "is of matching.trajectory, whose student takes steps on "
                   "the set: leave it out");
  }
}

}  // namespace

std::vector<int> DasmSegments(int images_per_class) {
  constexpr int kHalves = 100;
  constexpr int kSegment = 50;
  if (images_per_class <= kHalves) return SeqMatchSegments(images_per_class, 2);
  std::vector<int> segments(images_per_class / kSegment, kSegment);
  const int rest = images_per_class % kSegment;
  if (rest > 0) segments.push_back(rest);
  return segments;
}

std::vector<int> SeqMatchSegments(int images_per_class, int subsets) {
  const int count = std::min(subsets, images_per_class);
  std::vector<int> segments;
  for (int k = 0; k < count; ++k) {
    segments.push_back(images_per_class / count +
                       (k < images_per_class % count ? 1 : 0));
  }
  return segments;
}

SequenceSpec ReadSequence(const v1::SequenceSpec& from, int images_per_class,
                          bool trajectories, FieldReader* reader) {
  SequenceSpec to;
  const int given =
      from.has_one_segment() + from.has_dasm() + from.has_seqmatch();
  if (given != 1) {
    reader->Refuse(
        "sequence",
        given > 1 ? "give only one of one_segment, dasm and seqmatch"
        : trajectories
            ? "is required: one_segment: {}, seqmatch: {} or dasm: {}, or a "
              "preset"
            : "is required: dasm: {} or one_segment: {} (IDC), or a preset");
    return to;
  }
  to.segments = {images_per_class};
  if (from.has_one_segment()) return to;
  if (from.has_dasm()) {
    to.segments =
        ReadSegments(from.dasm().segments(), DasmSegments(images_per_class),
                     images_per_class, "sequence.dasm.segments", reader);
    ReadDasm(from.dasm(), trajectories, &to, reader);
    to.visible_earlier = to.visible_earlier && to.segments.size() > 1;
    return to;
  }
  if (!trajectories) {
    reader->Refuse("sequence.seqmatch",
                   "matches trajectories: give matching.trajectory, or use "
                   "dasm or one_segment");
  }
  to.segments = ReadSegments(
      from.seqmatch().segments(), SeqMatchSegments(images_per_class, 2),
      images_per_class, "sequence.seqmatch.segments", reader);
  if (to.segments.size() == 1) return to;
  to.seqmatch = true;
  to.visible_earlier = true;
  // Nobody is asked which images are difficult.
  to.pool = PoolRule::kAll;
  return to;
}

}  // namespace dasm
