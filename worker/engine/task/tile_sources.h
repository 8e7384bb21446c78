// Which training images the tiles of earlier segments were drawn from.
#ifndef DASM_WORKER_ENGINE_TASK_TILE_SOURCES_H_
#define DASM_WORKER_ENGINE_TASK_TILE_SOURCES_H_

#include <cstdint>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

// Of the inputs segment.1 ..; noise has no source. DATA, naming the path, for a
// segment that does not fit the data set.
absl::StatusOr<absl::flat_hash_set<int64_t>> TileSources(const TaskFiles& files,
                                                         const ImageData& data);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TILE_SOURCES_H_
