// SPDX-License-Identifier: Apache-2.0
#include "attention/merge_tokens.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nextscale {
namespace {

// Keys of length zero are similar to none.
constexpr double kSmallestLength = 1e-12;

double length_of(const float* key, int64_t head_dim) {
  return std::max(std::sqrt(dot(key, key, head_dim)), kSmallestLength);
}

struct Target {
  size_t kept = 0;
  double cosine = -std::numeric_limits<double>::infinity();
};

class Merger {
 public:
  Merger(Merge mode, const Candidates& candidates, MergeSpace& space)
      : mode_(mode), candidates_(candidates), space_(space), head_dim_(candidates.head_dim) {}

  void begin(std::span<const int32_t> kept) {
    num_kept_ = kept.size();
    for (size_t index = 0; index < num_kept_; ++index) {
      const auto first = static_cast<int64_t>(index) * head_dim_;
      float* key = space_.kept_keys.data() + first;
      float* value = space_.kept_values.data() + first;
      candidates_.read(CandidatePart::kKeys, kept[index], key);
      candidates_.read(CandidatePart::kValues, kept[index], value);
      std::copy_n(key, head_dim_, space_.keys.data() + first);
      std::copy_n(value, head_dim_, space_.values.data() + first);
      space_.lengths[index] = length_of(key, head_dim_);
      space_.members[index] = 1;
    }
  }

  void add(int64_t evicted) {
    float* key = space_.row.data();
    float* value = key + head_dim_;
    candidates_.read(CandidatePart::kKeys, evicted, key);
    candidates_.read(CandidatePart::kValues, evicted, value);
    const Target target = nearest(key);
    const size_t first = target.kept * static_cast<size_t>(head_dim_);
    add_row(key, target, space_.kept_keys.subspan(first), space_.keys.subspan(first));
    add_row(value, target, space_.kept_values.subspan(first), space_.values.subspan(first));
    ++space_.members[target.kept];
  }

  void write(const MergedTokens& out) {
    const size_t row_bytes =
        static_cast<size_t>(head_dim_) * dtype_bytes(candidates_.current.dtype);
    for (size_t index = 0; index < num_kept_; ++index) {
      write_mean(space_.keys, index, out.k + index * row_bytes);
      write_mean(space_.values, index, out.v + index * row_bytes);
      out.absorbed[index] = space_.members[index] > 1 ? 1 : 0;
    }
  }

 private:
  Target nearest(const float* key) const {
    const double length = length_of(key, head_dim_);
    Target best;
    for (size_t index = 0; index < num_kept_; ++index) {
      const float* other = space_.kept_keys.data() + static_cast<int64_t>(index) * head_dim_;
      const double cosine = dot(key, other, head_dim_) / (length * space_.lengths[index]);
      if (cosine > best.cosine) best = {.kept = index, .cosine = cosine};
    }
    return best;
  }

  void add_row(const float* row, const Target& target, std::span<const float> kept,
               std::span<double> sum) const {
    for (int64_t feature = 0; feature < head_dim_; ++feature) {
      const auto at = static_cast<size_t>(feature);
      auto value = static_cast<double>(row[feature]);
      if (mode_ == Merge::kPivot) value = (value + static_cast<double>(kept[at])) / 2;
      if (mode_ == Merge::kWeighted) value *= target.cosine;
      sum[at] += value;
    }
  }

  void write_mean(std::span<const double> sums, size_t index, void* out) {
    const size_t first = index * static_cast<size_t>(head_dim_);
    for (int64_t feature = 0; feature < head_dim_; ++feature) {
      const double mean = sums[first + static_cast<size_t>(feature)] / space_.members[index];
      space_.row[static_cast<size_t>(feature)] = static_cast<float>(mean);
    }
    store_row(space_.row.data(), head_dim_, candidates_.current.dtype, out);
  }

  Merge mode_;
  const Candidates& candidates_;
  MergeSpace& space_;
  int64_t head_dim_;
  size_t num_kept_ = 0;
};

}  // namespace

MergedTokens MergedTokens::take(Arena& arena, int64_t max_kept, int64_t head_dim, DType dtype) {
  const size_t row_bytes = static_cast<size_t>(head_dim) * dtype_bytes(dtype);
  const auto kept = static_cast<size_t>(max_kept);
  return {.k = arena.take<std::byte>(kept * row_bytes).data(),
          .v = arena.take<std::byte>(kept * row_bytes).data(),
          .absorbed = arena.take<uint8_t>(kept)};
}

size_t MergedTokens::bytes(int64_t max_kept, int64_t head_dim, DType dtype) {
  const size_t row_bytes = static_cast<size_t>(head_dim) * dtype_bytes(dtype);
  const auto kept = static_cast<size_t>(max_kept);
  return 2 * Arena::rounded(kept * row_bytes) + Arena::rounded(kept);
}

MergeSpace MergeSpace::take(Arena& arena, int64_t max_kept, int64_t head_dim) {
  const auto kept = static_cast<size_t>(max_kept);
  const auto features = static_cast<size_t>(max_kept * head_dim);
  return {.keys = arena.take<double>(features),
          .values = arena.take<double>(features),
          .kept_keys = arena.take<float>(features),
          .kept_values = arena.take<float>(features),
          .lengths = arena.take<double>(kept),
          .members = arena.take<int32_t>(kept),
          .row = arena.take<float>(static_cast<size_t>(2 * head_dim))};
}

size_t MergeSpace::bytes(int64_t max_kept, int64_t head_dim) {
  const auto kept = static_cast<size_t>(max_kept);
  const auto features = static_cast<size_t>(max_kept * head_dim);
  return 2 * Arena::rounded(features * sizeof(double)) +
         2 * Arena::rounded(features * sizeof(float)) + Arena::rounded(kept * sizeof(double)) +
         Arena::rounded(kept * sizeof(int32_t)) +
         Arena::rounded(static_cast<size_t>(2 * head_dim) * sizeof(float));
}

void merge_tokens(Merge mode, const Candidates& candidates, std::span<const int32_t> kept,
                  MergeSpace& space, const MergedTokens& out) {
  Merger merger(mode, candidates, space);
  merger.begin(kept);
  size_t next = 0;
  for (int64_t position = 0; position < candidates.count(); ++position) {
    if (next < kept.size() && kept[next] == position) {
      ++next;
    } else {
      merger.add(position);
    }
  }
  merger.write(out);
}

}  // namespace nextscale
