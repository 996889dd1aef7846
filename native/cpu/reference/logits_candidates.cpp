#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "cpu/reference/ops.h"

namespace lowrank::cpu::reference {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

LogitsBlock reduce_block(const LogitsRow& row, int32_t begin, int32_t count) {
  float x[kLogitBlock];
  adjusted_logits(row, begin, count, x);
  LogitsBlock block{-kInfinity, 0, 0, 0};
  for (int32_t group = 0; group < count; group += kLogitGroup) {
    float peak = -kInfinity;
    for (int32_t i = group; i < std::min(group + kLogitGroup, count); ++i) {
      if (std::isnan(x[i])) block.has_nan = 1;
      peak = std::max(peak, x[i]);
    }
    row.group_peaks[(begin + group) / kLogitGroup] = peak;
    block.peak = std::max(block.peak, peak);
  }
  if (row.factor == 0 || block.has_nan != 0 || !std::isfinite(block.peak)) return block;
  double sum = 0, weighted = 0;
  for (int32_t i = 0; i < count; ++i) {
    const auto exponent = static_cast<double>((x[i] - block.peak) * row.factor);
    const double weight = std::exp(exponent);
    sum += weight;
    if (weight > 0) weighted += exponent * weight;
  }
  block.sum = static_cast<float>(sum);
  block.weighted = static_cast<float>(weighted);
  return block;
}

// The peak and the sums of the whole row.
LogitsSummary merge_blocks(const LogitsRow& row, int32_t count) {
  LogitsSummary all{-kInfinity, 1, 0, 0};
  for (int32_t i = 0; i < count; ++i) {
    if (row.blocks[i].has_nan != 0) all.finite = 0;
    all.peak = std::max(all.peak, row.blocks[i].peak);
  }
  if (!std::isfinite(all.peak)) all.finite = 0;
  if (row.factor == 0 || all.finite == 0) return all;
  for (int32_t i = 0; i < count; ++i) {
    const LogitsBlock& block = row.blocks[i];
    const double distance = (static_cast<double>(block.peak) - static_cast<double>(all.peak)) * static_cast<double>(row.factor);
    const double scale = std::exp(distance);
    if (scale == 0) continue;  // also of a block that is forbidden as a whole
    all.sum += scale * static_cast<double>(block.sum);
    all.weighted += scale * (static_cast<double>(block.weighted) + distance * static_cast<double>(block.sum));
  }
  return all;
}

bool likelier(const LogitCandidate& a, const LogitCandidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

void find_candidates(const LogitsRow& row, int32_t vocabulary) {
  const int32_t limit = row.candidate_limit;
  const int32_t groups = logit_groups(vocabulary);
  // So many groups have a peak from here on, so so many ids have an x from here on.
  float bound = -kInfinity;
  if (limit == 1) {
    bound = row.summary->peak;
  } else if (limit <= groups) {
    std::memcpy(row.sorted_peaks, row.group_peaks, static_cast<size_t>(groups) * sizeof(float));
    std::nth_element(row.sorted_peaks, row.sorted_peaks + limit - 1, row.sorted_peaks + groups, std::greater<float>());
    bound = row.sorted_peaks[limit - 1];
  }
  LogitCandidate found[2 * kMaxLogitCandidates];
  int32_t count = 0;
  for (int32_t group = 0; group < groups; ++group) {
    if (row.group_peaks[group] < bound) continue;
    const int32_t begin = group * kLogitGroup;
    const int32_t size = std::min(kLogitGroup, vocabulary - begin);
    float adjusted[kLogitGroup];
    const float* x = row.logits + begin;
    if (row.adjusted()) {
      adjusted_logits(row, begin, size, adjusted);
      x = adjusted;
    }
    for (int32_t i = 0; i < size; ++i) {
      if (x[i] < bound) continue;
      found[count++] = {x[i], begin + i};
      if (count < 2 * kMaxLogitCandidates) continue;
      std::nth_element(found, found + limit - 1, found + count, likelier);
      count = limit;
      // Of equals the lowest ids are there already.
      bound = std::nextafter(found[limit - 1].logit, kInfinity);
    }
  }
  std::sort(found, found + count, likelier);
  std::copy(found, found + limit, row.candidates);
}

}  // namespace

void logits_blocks(const LogitsCandidatesArgs& args, int part, int parts) {
  // Blocks outside, rows inside: a thread finds here what it wrote of each row.
  const Range pairs = split(logit_blocks(args.vocabulary) * args.row_count, 1, part, parts);
  for (int32_t pair = pairs.begin; pair < pairs.end; ++pair) {
    const LogitsRow& row = args.rows[pair % args.row_count];
    const int32_t block = pair / args.row_count;
    const int32_t begin = block * kLogitBlock;
    row.blocks[block] = reduce_block(row, begin, std::min(kLogitBlock, args.vocabulary - begin));
  }
}

void logits_candidates(const LogitsCandidatesArgs& args, int part, int parts) {
  const Range rows = split(args.row_count, 1, part, parts);
  for (int32_t m = rows.begin; m < rows.end; ++m) {
    const LogitsRow& row = args.rows[m];
    *row.summary = merge_blocks(row, logit_blocks(args.vocabulary));
    if (row.summary->finite != 0 && row.candidate_limit > 0) find_candidates(row, args.vocabulary);
  }
}

}  // namespace lowrank::cpu::reference
