package android.widget;

import android.view.View;
import android.view.ViewGroup;

public interface Adapter {
    int getCount();

    Object getItem(int position);

    long getItemId(int position);

    int getItemViewType(int position);

    int getViewTypeCount();

    View getView(int position, View convertView, ViewGroup parent);
}
