// What a decode reads next: its blocks follow from row to row, not from one block to the next in memory, and a row with a
// short context is done before memory has answered. So each part asks for its later rows' blocks as it goes.
#pragma once

#include "cpu/simd/attention_tiles.h"

namespace lowrank::cpu {

// The blocks of rows that are one sequence's only row each, in the order in which one part comes to them: (row, kv head) pairs
// are dealt to the parts in turn, a pair's blocks ascend. It ends where other rows follow.
class BlockCursor {
 public:
  // At the first block of the pair.
  BlockCursor(const AttentionPagedArgs& args, int32_t m, int32_t kv_head, int parts)
      : args_(&args), m_(m), kv_head_(kv_head), parts_(parts) {
    start_pair();
  }

  bool ended() const { return m_ < 0; }
  bool at(int32_t m, int32_t kv_head) const { return m_ == m && kv_head_ == kv_head; }
  KvBlock block() const { return {*args_, args_->block_tables[m_][j_ / kPageTokens], kv_head_}; }

  void advance() {
    j_ += kPageTokens;
    if (j_ <= args_->positions[m_]) return;
    kv_head_ += parts_;
    while (kv_head_ >= args_->kv_heads) {
      kv_head_ -= args_->kv_heads;
      ++m_;
      if (m_ >= args_->rows || args_->block_tables[m_] == args_->block_tables[m_ - 1] ||
          (m_ + 1 < args_->rows && args_->block_tables[m_ + 1] == args_->block_tables[m_])) {
        m_ = -1;
        return;
      }
    }
    start_pair();
  }

 private:
  void start_pair() {
    j_ = first_key(args_->positions[m_], args_->window) / kPageTokens * kPageTokens;
  }

  const AttentionPagedArgs* args_;
  int32_t m_;  // -1: ended
  int32_t kv_head_;
  int32_t j_ = 0;  // the block's first position
  int parts_;
};

}  // namespace lowrank::cpu
