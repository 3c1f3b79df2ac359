package android.widget;

public abstract class AbsListView extends AdapterView<ListAdapter> {}
